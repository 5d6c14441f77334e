import { defineConfig } from 'vitest/config';

const MINUTE = 60_000;

// The storage contract against a real S3 server (versitygw), with gigabytes and killed processes.
export default defineConfig({
  test: {
    include: ['test/s3/**/*.test.ts'],
    globalSetup: ['test/s3/global-setup.ts'],
    // One server and one disk: files side by side would only measure each other.
    maxWorkers: 1,
    testTimeout: 10 * MINUTE,
    hookTimeout: 2 * MINUTE,
  },
});
