import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // test/airflow needs a real Airflow and has its own commands.
    include: ['test/{unit,contract,integration,fault,cli}/**/*.test.ts'],
    globalSetup: ['test/helpers/global-setup.ts'],
    // Files share one server and few cores: more workers only wait for each other.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
});
