import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalStorage } from '../../src/storage/local.ts';
import { describeStorageContract } from './storage.ts';

describeStorageContract(
  'local',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'lifeboat-storage-'));
    const root = join(directory, 'not', 'there yet');
    return {
      storage: createLocalStorage(root),
      other: createLocalStorage(root),
      close: () => rm(directory, { recursive: true, force: true }),
    };
  },
  { large: 256 * 1024 * 1024, memory: 64 * 1024 * 1024 },
);
