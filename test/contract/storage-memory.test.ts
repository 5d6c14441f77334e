import { createMemoryStorage } from '../../src/storage/memory.ts';
import { describeStorageContract } from './storage.ts';

describeStorageContract('memory', async () => {
  const storage = createMemoryStorage();
  return { storage, other: storage, close: () => Promise.resolve() };
});
