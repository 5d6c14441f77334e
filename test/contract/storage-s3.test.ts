import { expect, vi } from 'vitest';
import { createS3Storage } from '../../src/storage/s3.ts';
import { startFakeS3 } from '../helpers/fake-s3.ts';
import { describeStorageContract } from './storage.ts';

describeStorageContract(
  's3 (fake)',
  async () => {
    vi.stubEnv('AWS_REGION', 'eu-central-1');
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'key');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
    const fake = await startFakeS3();
    const place = { bucket: fake.bucket, prefix: 'the/prefix', endpoint: fake.url };
    const storage = await createS3Storage(place);
    const other = await createS3Storage(place);
    return {
      storage,
      other,
      async close() {
        await storage.close?.();
        await other.close?.();
        await fake.close();
        expect(fake.refused).toEqual([]);
        expect(fake.store.uploads.size).toBe(0);
      },
    };
  },
  { large: 128 * 1024 * 1024 },
);
