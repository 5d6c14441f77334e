import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { hasGoneOn } from './chosen/stage-chosen.ts';
import { insertStatement } from './insert.ts';
import { insertInput } from './load-context.ts';
import type { LoadContext, LoadedTable } from './load-context.ts';
import type { ManifestTable } from './manifest.ts';
import { stageName } from './stage.ts';

/** Where the schedule of a DAG stands. A parsed row of an empty target points at start_date, which would run again. */
const NEXT_RUN = [
  'next_dagrun',
  'next_dagrun_data_interval_start',
  'next_dagrun_data_interval_end',
  'next_dagrun_create_after',
];

/**
 * DAGs that the target has not parsed yet are created inactive, with their pause state and next run, so that the parser
 * finds them and only activates them. Known ones take the pause state (as asked) and the next run; everything else of
 * them belongs to the parser. A part of a backup may come into an environment that works: a DAG that has run there since
 * the backup was made keeps its own next run.
 */
export async function loadDags(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
): Promise<LoadedTable> {
  const { client, request } = load;
  const target = quoteTable(load.state.live.schema, table.name);
  // 'unchanged' has nothing to keep for a DAG that is new here: it starts paused, as dags_are_paused_at_creation has it.
  const created = request.pauseState === 'backup' ? `s.${quoteIdent('is_paused')}` : 'true';
  const inserted = await client.query(
    `${insertStatement({ ...insertInput(load, table, stored), overrides: { is_active: 'false', is_paused: created } })}
     ON CONFLICT DO NOTHING RETURNING dag_id`,
  );
  const fresh = inserted.rows.map((row: { dag_id: string }) => row.dag_id);
  const paused = { backup: 's.is_paused', paused: 'true', unchanged: 't.is_paused' }[request.pauseState];
  // A backup that does not know where the schedule stands leaves it to the target.
  const next = NEXT_RUN.filter((column) => stored.columns.includes(column));
  const stands = (column: string): string =>
    load.choice ? `CASE WHEN ${hasGoneOn('t.dag_id')} THEN t.${column} ELSE s.${column} END` : `s.${column}`;
  const changes = [`is_paused = ${paused}`, ...next.map((column) => `${column} = ${stands(column)}`)];
  const updated = await client.query(
    `UPDATE ${target} t SET ${changes.join(', ')}
       FROM ${stageName(table.name)} s WHERE t.dag_id = s.dag_id AND NOT (s.dag_id = ANY ($1::text[]))`,
    [fresh],
  );
  load.ids.set(table.name, 'kept');
  return { table: table.name, rows: (inserted.rowCount ?? 0) + (updated.rowCount ?? 0), moved: 0 };
}
