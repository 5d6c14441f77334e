import { afterAll, describe, inject } from 'vitest';
import { liveTarget } from './live-target.ts';
import { prepare } from './prepare.ts';
import type { Preparation } from './prepare.ts';
import { roundTrip } from './round-trip.ts';

// One file for each release, because filling an Airflow takes as long as testing with it. Within a describe the tests
// follow one another as a recovery does: each one uses what those before it left.
const release = inject('airflowRelease');
let preparing: Promise<Preparation> | undefined;
const prepared = (): Promise<Preparation> => (preparing ??= prepare(release));

afterAll(async () => {
  await (await preparing)?.release();
});

describe(`Airflow ${release}: round trip`, () => {
  roundTrip(prepared);
});

describe(`Airflow ${release}: backed up at work, killed, restored while it runs`, () => {
  liveTarget(prepared);
});
