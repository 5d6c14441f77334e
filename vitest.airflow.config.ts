import { defineConfig } from 'vitest/config';
import { selectReleases, testsOf } from './test/airflow/versions.ts';

const MINUTE = 60_000;
const setting = process.env.AIRFLOW_VERSIONS;

// One project per Airflow release, so that two of them run side by side: most of their time is waiting for Airflow.
export default defineConfig({
  test: {
    globalSetup: ['test/airflow/global-setup.ts'],
    maxWorkers: 2,
    projects: selectReleases(setting).map((release) => ({
      test: {
        name: `airflow ${release}`,
        include: [...testsOf(release, setting)],
        provide: { airflowRelease: release },
        pool: 'forks',
        // Preparing installs, creates and fills an Airflow: about three minutes on two busy cores.
        hookTimeout: 45 * MINUTE,
        testTimeout: 15 * MINUTE,
      },
    })),
  },
});
