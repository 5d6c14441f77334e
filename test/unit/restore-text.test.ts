import { expect, test } from 'vitest';
import { planText } from '../../src/cli/text/plan.ts';
import { restoreText } from '../../src/cli/text/restore.ts';
import type { RestoreResult } from '../../src/engine/api.ts';
import type { Manifest } from '../../src/engine/manifest.ts';
import type { RestorePlan, TimeLimit } from '../../src/engine/plans.ts';
import { omittedWarnings } from '../../src/engine/sealed/open-backup.ts';

const plain = (text: string): string => text;
const STYLE = {
  bold: plain,
  dim: plain,
  red: plain,
  green: plain,
  yellow: plain,
  width: 400,
  now: () => new Date('2026-11-21T12:00:00Z'),
};

const LIMITS: readonly TimeLimit[] = [
  { dagId: 'daily', runId: 'r1', kind: 'dagrun', at: '2026-11-20T00:00:00Z' },
  { dagId: 'daily', runId: 'r1', taskId: 'waits', kind: 'trigger', at: '2026-11-20T00:00:00Z' },
  { dagId: 'daily', runId: 'r1', taskId: 'pokes', kind: 'sensor', at: '2026-11-20T00:00:00Z' },
];

const PLAN: RestorePlan = {
  kind: 'restore',
  backupId: '20261121T013012345Z-4f3a9c',
  snapshotTime: '2026-11-21T01:30:12.345Z',
  source: { environment: 'prod:5432/airflow', airflow: '2.8', alembicHead: '10b52ebd31f7' },
  target: {
    name: 'dr:5432/airflow',
    schema: 'public',
    airflow: '2.8',
    alembicHead: '10b52ebd31f7',
    postgres: '15.4',
    schedulerHeartbeat: null,
  },
  via: 'in-place',
  viaReason: 'the default',
  spaceBytes: 1000,
  clean: false,
  variables: 'append',
  connections: 'append',
  pauseState: 'backup',
  keepRuns: [],
  inFlight: { policy: 'resume', runs: { running: 1 }, backfillRuns: 0, tasks: {}, passedLimits: LIMITS },
  chosen: null,
  tables: [],
  blockers: [],
  warnings: [],
};

const same = { added: 0, replaced: 0, kept: 0, keptDifferent: [] };
const RESULT: RestoreResult = {
  backupId: PLAN.backupId,
  plan: PLAN,
  loaded: {
    tables: [],
    rows: 10,
    deleted: 0,
    variables: same,
    connections: same,
    unfinishedRuns: { running: 1 },
    unfinishedTasks: {},
    inFlight: {
      policy: 'resume',
      resumedRuns: 1,
      resumedTasks: {},
      startedAnew: 1,
      failedRuns: 0,
      failedTasks: 0,
      excludedRuns: 0,
      excludedTasks: 0,
      passedLimits: LIMITS,
    },
    unreadableSecrets: [],
    secrets: { reencrypted: 0, encrypted: 0 },
    missingPools: [],
    unparsedDags: [],
    notesWithoutUser: 2,
    eventsWithoutDataset: 3,
    keptRuns: ['dr/manual__1'],
    leftOutRuns: ['dr/x'],
    carryingDags: ['dr'],
    endedRun: 'dr/made_it',
    locks: { waitedSeconds: 0.1, heldSeconds: 1.2 },
    seconds: 2,
  },
};

test('the plan lists the limits that are passed, by run and task', () => {
  const text = planText(PLAN, STYLE);
  expect(text).toMatch(/Time limits: .*daily\/r1.*daily\/r1\/waits.*daily\/r1\/pokes/);
});

test('the summary says what did not come as it was, and what the target’s scheduler felt', () => {
  const text = restoreText(RESULT, STYLE);
  expect(text).toMatch(/Time limits: .*daily\/r1.*daily\/r1\/waits.*daily\/r1\/pokes/);
  expect(text).toContain('2 notes lost the author, whom the target does not know.');
  expect(text).toContain('3 dataset events left out: the backup does not have the dataset.');
  expect(text).toMatch(/left out, because a kept run has their name or date: dr\/x\./);
  expect(text).toMatch(/Kept runs +dr\/manual__1/);
  expect(text).toMatch(/Made the backup +dr\/made_it, stored as success/);
  expect(text).toMatch(/Lifeboat’s DAGs +dr: pause states as they were/);
  expect(text).toContain('the target’s scheduler waited at most 2 seconds');
  expect(text).toContain('1 run to go on with, 1 interrupted task to start anew');
});

test('a backup without secrets says which it does not bring', () => {
  const names = Array.from({ length: 12 }, (_, at) => `key_${at}`);
  const manifest = {
    secrets: { mode: 'omit' },
    leftOut: [
      { table: 'variable', rows: 12, names, reason: '' },
      { table: 'trigger', reason: '' },
    ],
  } as unknown as Manifest;
  const warnings = omittedWarnings(manifest, ['variable', 'trigger']);
  const text = planText({ ...PLAN, warnings }, STYLE);
  expect(text).toMatch(
    /12 rows of variable are not in this backup, because they hold secrets: key_0, .*key_9, and 2 more/,
  );
  expect(text).toContain('Those that the target has stay; set the others there.');
});
