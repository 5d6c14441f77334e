import { describeStorageContract } from '../contract/storage.ts';
import { serverStorage, useServerCredentials } from './versitygw.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

describeStorageContract(
  's3 (versitygw)',
  async () => {
    useServerCredentials();
    const storage = await serverStorage('the/prefix');
    const other = await serverStorage('the/prefix');
    return {
      storage,
      other,
      async close() {
        await storage.close?.();
        await other.close?.();
      },
    };
  },
  { large: 3 * GIB, memory: 160 * MIB },
);
