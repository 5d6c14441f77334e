import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import type { Outcome } from '../../src/cli/command.ts';
import { createOutput } from '../../src/cli/output.ts';
import { createJsonReporter } from '../../src/cli/reporters/json.ts';
import { progressLine } from '../../src/cli/reporters/progress.ts';
import { createTextReporter } from '../../src/cli/reporters/text.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import type { RestorePlan } from '../../src/engine/plans.ts';
import { LifeboatError } from '../../src/errors.ts';
import { fakeHost } from '../helpers/fake-host.ts';

const schema = JSON.parse(
  readFileSync(new URL('../../schema/events-v1.schema.json', import.meta.url), 'utf8'),
) as object;
const isEvent = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false }).compile(schema);

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
    schedulerHeartbeat: '2026-11-21T11:57:00Z',
  },
  via: 'in-place',
  viaReason: 'asked for',
  spaceBytes: 2_800_000_000,
  clean: true,
  variables: 'append',
  connections: 'replace',
  pauseState: 'paused',
  keepRuns: ['dr/manual__1'],
  inFlight: { policy: 'resume', runs: { queued: 1 }, backfillRuns: 0, tasks: {}, passedLimits: [] },
  chosen: null,
  tables: [
    { table: 'dag_run', action: 'load', deletes: 1203, loads: 40_003, keeps: 0 },
    { table: 'variable', action: 'merge', deletes: 0, loads: 4, keeps: 2, note: 'by key' },
    { table: 'sla_miss', action: 'load', deletes: 0, loads: 0, keeps: 0 },
  ],
  blockers: [{ code: 'history', message: 'The target has history.', next: 'Add --clean.' }],
  warnings: [{ code: 'narrow', message: 'A column is narrower.' }],
};

const EVENTS: readonly LifeboatEvent[] = [
  { event: 'phase', phase: 'check', message: 'Checking the parts' },
  { event: 'plan', plan: PLAN },
  { event: 'progress', phase: 'load', table: 'dag_run', rows: 10, bytes: 2000, totalBytes: 4000 },
  { event: 'table', phase: 'load', table: 'dag_run', rows: 20, bytes: 4000, seconds: 2 },
  { event: 'warning', code: 'debris', message: 'There is debris.', next: 'Run lifeboat prune.' },
];

const OUTCOME: Outcome = {
  ending: 'done',
  result: { backupId: 'x' },
  lines: [{ event: 'backup', backupId: 'x', problem: 'cut short' }],
  text: () => 'All is well.',
};

function jsonRun(
  act: (reporter: ReturnType<typeof createJsonReporter>) => void,
): readonly Record<string, unknown>[] {
  const host = fakeHost([]);
  act(createJsonReporter(host, createOutput(host.stdout), createOutput(host.stderr)));
  const lines = host.stdout.text().split('\n');
  expect(lines.pop()).toBe('');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('JSON reporter', () => {
  test('sends every event as it is and ends with the summary, all valid by the published schema', () => {
    const lines = jsonRun((reporter) => {
      EVENTS.forEach(reporter.report);
      reporter.finish({ command: 'restore', exitCode: 0, outcome: OUTCOME });
    });
    expect(lines.slice(0, EVENTS.length)).toEqual(EVENTS);
    expect(lines.at(-2)).toEqual(OUTCOME.lines?.[0]);
    expect(lines.at(-1)).toEqual({
      event: 'summary',
      command: 'restore',
      ok: true,
      exitCode: 0,
      backupId: 'x',
    });
    for (const line of lines) expect(isEvent(line), JSON.stringify([line, isEvent.errors])).toBe(true);
  });

  test('tells a failure in the summary and on stderr', () => {
    const error = new LifeboatError('refused', 'No.', { next: 'Ask.', details: { code: 'why' } });
    const host = fakeHost([]);
    const reporter = createJsonReporter(host, createOutput(host.stdout), createOutput(host.stderr));
    reporter.finish({ command: null, exitCode: 14, error });
    const line = JSON.parse(host.stdout.text()) as object;
    expect(line).toEqual({
      event: 'summary',
      command: null,
      ok: false,
      exitCode: 14,
      error: { kind: 'refused', message: 'No.', next: 'Ask.', details: { code: 'why' } },
    });
    expect(isEvent(line)).toBe(true);
    expect(host.stderr.text()).toBe('error: No.\n  next: Ask.\n');
  });

  test('hides passwords inside the values, and the line stays JSON', () => {
    const [line] = jsonRun((reporter) => {
      reporter.report({ event: 'warning', code: 'x', message: `password='a" postgresql://u:hush@h/d` });
    });
    expect(JSON.stringify(line)).not.toContain('hush');
    expect(line?.message).toContain('postgresql://u:***@h/d');
  });

  test('the schema refuses what is no event', () => {
    expect(isEvent({ event: 'phase', phase: 'nap', message: '' })).toBe(false);
    expect(isEvent({ event: 'summary', command: 'list', ok: true })).toBe(false);
    expect(isEvent({ event: 'unheard' })).toBe(false);
  });
});

function textRun(
  options: Parameters<typeof fakeHost>[1],
  act: (reporter: ReturnType<typeof createTextReporter>) => void,
): { readonly out: string; readonly err: string } {
  const host = fakeHost([], options);
  act(createTextReporter(host, createOutput(host.stdout), createOutput(host.stderr), () => true));
  return { out: host.stdout.text(), err: host.stderr.text() };
}

describe('text reporter', () => {
  test('without a terminal: a line a table and the warnings on stderr, plan and result on stdout', () => {
    const { out, err } = textRun({}, (reporter) => {
      EVENTS.forEach(reporter.report);
      reporter.finish({ command: 'restore', exitCode: 0, outcome: OUTCOME });
    });
    expect(err).toBe(
      'Loading dag_run: 20 rows, 4.0 KB in 2.0 s, 2.0 KB/s\nwarning: There is debris.\n  Run lifeboat prune.\n',
    );
    expect(out.endsWith('All is well.\n')).toBe(true);
    // eslint-disable-next-line no-control-regex -- no colours where there is no terminal
    expect(out).not.toMatch(/\u001b/);
  });

  test('the plan of a restore says first where it goes, then what happens, then what is in the way', () => {
    const { out } = textRun({}, (reporter) => {
      reporter.report({ event: 'plan', plan: PLAN });
    });
    expect(out).toMatchInlineSnapshot(`
      "Target     dr:5432/airflow, schema public
      Airflow    2.8 (Alembic 10b52ebd31f7), PostgreSQL 15.4
      Scheduler  last heartbeat 3 minutes ago (2026-11-21 11:57:00 UTC)

      Plan: restore 20261121T013012345Z-4f3a9c
        of            prod:5432/airflow, Airflow 2.8, as it was at 2026-11-21 01:30:12 UTC
        clean         yes: history of the target is deleted first
        way           in-place: into the live tables, which are locked meanwhile (asked for)
        disk          about 2.8 GB should be free on the target’s server
        variables     append
        connections   replace
        in flight     resume: the scheduler goes on with what had not ended (runs: 1 queued)
        pause states  paused: every DAG of the backup, until lifeboat activate
        kept runs     dr/manual__1

      Table     Action  Delete    Load  Keep
      dag_run   load     1,203  40,003     0
      variable  merge        0       4     2  by key
      total              1,203  40,007     2

      Nothing to do in sla_miss.

      warning: A column is narrower.

      blocked: The target has history.
        next: Add --clean.

      "
    `);
  });

  test('on a terminal: one redrawn line, taken off before anything else is written', () => {
    const { err } = textRun({ terminal: { columns: 40 }, env: { NO_COLOR: '1' } }, (reporter) => {
      EVENTS.forEach(reporter.report);
      reporter.finish({ command: 'restore', exitCode: 0, outcome: OUTCOME });
    });
    const CLEAR = '\r\u001b[2K';
    expect(err).toBe(
      `${CLEAR}Checking the parts${CLEAR}${CLEAR}Loading dag_run  50%  10 rows  2.0 KB${CLEAR}warning: There is debris.\n  Run lifeboat prune.\n`,
    );
  });

  test.each([
    [{ columns: 80 }, {}, true],
    [{ columns: 80 }, { NO_COLOR: '1' }, false],
    [{ columns: 80 }, { TERM: 'dumb' }, false],
    [undefined, {}, false],
  ])('colour on %j with %j: %s', (terminal, env, coloured) => {
    const { err } = textRun({ env, ...(terminal === undefined ? {} : { terminal }) }, (reporter) => {
      reporter.finish({ command: null, exitCode: 2, error: new LifeboatError('usage', 'No.') });
    });
    expect(err.includes('\u001b[31m')).toBe(coloured);
  });

  test('control characters of foreign text do not reach the terminal', () => {
    const { err } = textRun({ terminal: { columns: 80 }, env: { NO_COLOR: '1' } }, (reporter) => {
      reporter.report({ event: 'warning', code: 'x', message: 'label \u001b]0;evil\u0007' });
    });
    expect(err).not.toContain('\u001b]0;');
  });
});

describe('progress line', () => {
  const event = {
    event: 'progress',
    phase: 'backup',
    table: 'task_instance',
    rows: 1_234_567,
    bytes: 45e6,
  } as const;

  test('table, share, rows, bytes, rate and time left', () => {
    expect(progressLine({ ...event, totalBytes: 90e6 }, 10, 100)).toBe(
      'Backing up task_instance  50%  1,234,567 rows  45.0 MB  4.5 MB/s  0:10 left',
    );
  });

  test('without totals it promises nothing, and in the first second it computes no rate', () => {
    expect(progressLine(event, 10, 100)).toBe('Backing up task_instance  1,234,567 rows  45.0 MB  4.5 MB/s');
    expect(progressLine({ ...event, totalRows: 2_469_134 }, 0.5, 100)).toBe(
      'Backing up task_instance  50%  1,234,567 rows  45.0 MB',
    );
  });

  test('an overrun estimate is 100%, and a long line is cut', () => {
    expect(progressLine({ ...event, totalBytes: 10 }, 0, 100)).toContain('100%');
    expect(progressLine(event, 10, 20)).toHaveLength(19);
  });
});
