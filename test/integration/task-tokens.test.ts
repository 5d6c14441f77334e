import { gunzipSync } from 'node:zlib';
import { buffer } from 'node:stream/consumers';
import type pg from 'pg';
import { expect, test } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { backUp, engine, restoreInto } from './engine.ts';
import type { Engine } from './engine.ts';

const OURS = 'AAAAKgAAAAIAAAAAAAAAAf3qX/of+our+own+restore==';
const THEIRS = 'AAAAKgAAAAIAAAAAAAAAAf3qX/of+a+task+of+theirs==';
const BY_HAND = 'AAAAKgAAAAIAAAAAAAAAAf3qX/of+a+dag+without+tag==';
/** What Python writes for {}. */
const EMPTY = '80047d942e';

/** A pickle of a dictionary with one text in it. */
function pickled(key: string, value: string): Buffer {
  const text = (of: string): Buffer => {
    const head = Buffer.from('X0000');
    head.writeUInt32LE(of.length, 1);
    return Buffer.concat([head, Buffer.from(of)]);
  };
  return Buffer.concat([Buffer.from([0x80, 2, 0x7d]), text(key), text(value), Buffer.from('s.')]);
}

async function addRun(
  client: pg.Client,
  dagId: string,
  runId: string,
  conf: Buffer,
  day: number,
): Promise<void> {
  const execution_date = `2026-11-0${day}T00:00:00Z`;
  // What carries a backup is at work.
  const state = runId === 'carries' ? 'running' : 'success';
  const run = { dag_id: dagId, run_id: runId, execution_date, run_type: 'manual', state, conf };
  await insertRows(client, 'dag_run', [run]);
  const extra = `{"full_command": "['airflow', 'dags', 'trigger', '--conf', '${conf.toString('latin1')}']"}`;
  await insertRows(client, 'log', [
    {
      dttm: execution_date,
      execution_date,
      dag_id: dagId,
      event: 'cli_dag_trigger',
      owner: 'dr',
      extra: extra.replace(/[^ -~]/g, '.'),
    },
  ]);
}

/** All that is stored, as text: bytes stand in it as hexadecimal digits. */
async function storedText({ storage }: Engine): Promise<string> {
  const texts: string[] = [];
  for await (const { key } of storage.list('')) {
    const bytes = await buffer(await storage.read(key));
    texts.push((key.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString());
  }
  return texts.join('\n');
}

const isIn = (text: string, token: string): boolean =>
  text.includes(token) || text.includes(Buffer.from(token).toString('hex'));

test.each(['2.8.1', '2.11.0'] as const)(
  'Airflow %s: no task token of a DAG that carries backups is stored',
  async (version) => {
    const source = await createDatabase({ version });
    const client = await source.client();
    await insertRows(
      client,
      'dag',
      ['restore_metadata', 'theirs', 'by_hand'].map((dag_id) => ({
        dag_id,
        is_active: true,
        is_paused: true,
      })),
    );
    await insertRows(client, 'dag_tag', [{ name: 'lifeboat', dag_id: 'restore_metadata' }]);
    await addRun(client, 'restore_metadata', 'by a state machine', pickled('task_token', OURS), 1);
    await addRun(client, 'restore_metadata', 'by a person', pickled('backup', 'latest'), 2);
    await addRun(client, 'theirs', 'by a state machine', pickled('task_token', THEIRS), 1);
    await addRun(client, 'by_hand', 'carries', pickled('task_token', BY_HAND), 1);

    const ctx = engine();
    const carriedBy = { dagId: 'by_hand', runId: 'carries', taskId: 'backup' };
    const { manifest } = await backUp(ctx, source, { carriedBy });
    const text = await storedText(ctx);
    expect([OURS, THEIRS, BY_HAND].map((token) => isIn(text, token))).toEqual([false, true, false]);
    const reason = expect.stringContaining('task token') as string;
    expect(manifest.leftOut.filter(({ rows }) => rows !== undefined)).toEqual([
      { table: 'dag_run', columns: ['conf'], rows: 2, reason },
      { table: 'log', columns: ['extra'], rows: 2, reason },
    ]);

    const target = await createDatabase({ version, from: 'fresh' });
    await restoreInto(ctx, target);
    const restored = await target.client();
    const { rows } = await restored.query<{ run: string; conf: string; extra: string }>(
      `SELECT r.dag_id || ' ' || r.run_id AS run, encode(r.conf, 'hex') AS conf, l.extra FROM dag_run r JOIN log l USING (dag_id, execution_date)
      WHERE r.dag_id IN ('restore_metadata', 'theirs', 'by_hand') AND l.event = 'cli_dag_trigger' ORDER BY r.id`,
    );
    expect(rows.map(({ run, conf }) => [run, conf])).toEqual([
      ['restore_metadata by a state machine', EMPTY],
      ['restore_metadata by a person', pickled('backup', 'latest').toString('hex')],
      ['theirs by a state machine', pickled('task_token', THEIRS).toString('hex')],
      ['by_hand carries', EMPTY],
    ]);
    expect(rows.map(({ extra }) => extra.includes('trigger'))).toEqual([false, true, true, false]);
  },
);
