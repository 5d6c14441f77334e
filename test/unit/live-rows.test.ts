import { describe, expect, test } from 'vitest';
import { parseRunName, resolveCarryingTask } from '../../src/carrying-task.ts';
import { livePredicate } from '../../src/engine/live-rows.ts';
import { LifeboatError } from '../../src/errors.ts';
import { MINORS } from '../../src/versions/minors.ts';
import { tablesFor } from '../../src/versions/registry.ts';

const RUNS = [
  { dagId: "o'clock", runId: 'manual__2026-11-21T01:30:00+00:00' },
  { dagId: 'b', runId: 'r' },
];

function predicate(minor: (typeof MINORS)[number], name: string, runs = RUNS): string | undefined {
  const tables = tablesFor(minor);
  const table = tables.find((one) => one.name === name)!;
  return livePredicate({ live: { schema: 'airflow' } as never, tables, liveRuns: runs }, table);
}

describe('live rows', () => {
  test('of a run, quoted, through as many tables as it takes', () => {
    const run = `(dag_id, run_id) IN (('o''clock', 'manual__2026-11-21T01:30:00+00:00'), ('b', 'r'))`;
    expect(predicate('2.8', 'dag_run')).toBe(`(${run})`);
    expect(predicate('2.8', 'trigger')).toBe(
      `("id" IN (SELECT "trigger_id" FROM "airflow"."task_instance" WHERE ("dag_id", "run_id") IN (SELECT "dag_id", "run_id" FROM "airflow"."dag_run" WHERE ${run})))`,
    );
  });

  test('the log of a minor without run_id is found by execution date', () => {
    expect(predicate('2.8', 'log')).not.toContain('("dag_id", "run_id") IN');
    expect(predicate('2.8', 'log')).toContain('("dag_id", "execution_date") IN');
    expect(predicate('2.9', 'log')).toContain('("dag_id", "run_id") IN');
  });

  test('without a run only those that the spec names', () => {
    expect(predicate('2.8', 'task_instance', [])).toBeUndefined();
    expect(predicate('2.8', 'job', [])).toMatch(/^\(state = 'running' AND latest_heartbeat/);
    expect(predicate('2.8', 'job')).toMatch(/heartbeat.+OR.+job_id/s);
  });

  test.each(MINORS)('the links of %s lead to dag_run over columns that exist', (minor) => {
    const tables = tablesFor(minor);
    const linked = tables.filter((table) => table.ofRun.length > 0);
    expect(linked.length).toBeGreaterThan(12);
    for (const table of linked) {
      for (const link of table.ofRun) {
        const parent = tables.find((one) => one.name === link.of);
        expect(parent, `${table.name} → ${link.of}`).toBeDefined();
        expect(link.own.length).toBe(link.theirs.length);
        const columns = parent?.columns.map((column) => column.name);
        for (const column of link.theirs) expect(columns, table.name).toContain(column);
      }
      expect(predicate(minor, table.name), table.name).toContain(`'b', 'r'`);
    }
  });

  test('every table that has a foreign key to runs or tasks comes and goes with them', () => {
    for (const minor of MINORS) {
      const parts = tablesFor(minor).filter(
        (table) =>
          table.restore.kind === 'history' &&
          table.parents.some((parent) => parent === 'dag_run' || parent === 'task_instance'),
      );
      expect(parts.length).toBeGreaterThan(7);
      for (const { name, ofRun } of parts) {
        expect(
          ofRun.map((link) => link.as),
          name,
        ).toContain('part');
      }
    }
  });
});

describe('names of runs', () => {
  test('are cut at the first slash', () => {
    expect(parseRunName('dr/manual__2026-11-21T01:30:00+00:00', '--keep-run')).toEqual({
      dagId: 'dr',
      runId: 'manual__2026-11-21T01:30:00+00:00',
    });
    expect(parseRunName('dr/a/b:c,d', '--keep-run')).toEqual({ dagId: 'dr', runId: 'a/b:c,d' });
  });

  test.each(['dr', 'dr/', '/r', '/', ''])('%s is none', (text) => {
    expect(() => parseRunName(text, '--keep-run')).toThrow(LifeboatError);
  });

  test('the carrying task is known by all three of its variables', () => {
    const env = { AIRFLOW_CTX_DAG_ID: 'd', AIRFLOW_CTX_TASK_ID: 't', AIRFLOW_CTX_DAG_RUN_ID: 'r' };
    expect(resolveCarryingTask(env)).toEqual({ dagId: 'd', taskId: 't', runId: 'r' });
    for (const name of Object.keys(env)) expect(resolveCarryingTask({ ...env, [name]: '' })).toBeUndefined();
  });
});
