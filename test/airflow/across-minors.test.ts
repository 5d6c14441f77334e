import { afterAll, describe, inject } from 'vitest';
import { liveTarget } from './live-target.ts';
import { prepare } from './prepare.ts';
import type { Preparation } from './prepare.ts';
import { selectReleases } from './versions.ts';

// Between these two minors try_number changed its meaning, and the history of tries began.
const FROM = '2.9.2';
const INTO = '2.10.3';
const chosen =
  inject('airflowRelease') === INTO && selectReleases(process.env.AIRFLOW_VERSIONS).includes(FROM);
let preparing: Promise<Preparation> | undefined;

afterAll(async () => {
  await (await preparing)?.release();
});

describe.runIf(chosen)(
  `Airflow ${FROM} backed up at work, killed, restored into ${INTO} while it runs`,
  () => {
    liveTarget(() => (preparing ??= prepare(FROM)), FROM);
  },
);
