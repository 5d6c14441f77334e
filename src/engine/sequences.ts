import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { sqlStateOf } from '../db/sqlstate.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext } from './api.ts';
import { sequenceSql } from './target-state.ts';
import type { SequenceState, TargetState } from './target-state.ts';

/** Others hold a sequence for as long as a transaction in which they took an id from it. */
const PATIENCE_MS = 50;
/** insufficient_privilege, lock_not_available */
const TRY_SETVAL: readonly (string | undefined)[] = ['42501', '55P03'];

interface Lift {
  readonly sequence: string;
  readonly largest: number;
  readonly maximum: number;
}

/**
 * Lifts every sequence above every id of its table. ALTER SEQUENCE … RESTART is part of the transaction, setval is not:
 * after a failure the target must be as it was, its sequences too. Without ownership, and where the sequence is held by
 * somebody who may in turn wait for us, only setval is left.
 */
export async function liftSequences(
  ctx: EngineContext,
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
): Promise<void> {
  const lifts = await findLifts(ctx, client, state, tables);
  if (lifts.length === 0) return;
  // All in one message, since others wait; each by itself only where one of them cannot be had.
  if (await tryRestart(client, lifts)) return;
  for (const lift of lifts) if (!(await tryRestart(client, [lift]))) await client.query(setvalSql(lift));
}

async function findLifts(
  ctx: EngineContext,
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
): Promise<readonly Lift[]> {
  const lifts: Lift[] = [];
  for (const { table, largest, ...sequence } of await readSequences(client, state, tables)) {
    if (largest <= sequence.issued) continue;
    if (largest >= sequence.maximum) {
      ctx.report({
        event: 'warning',
        code: 'sequence-exhausted',
        message: `The largest id of ${table.name} is ${largest}, the last one its sequence can give: new rows will fail.`,
        next: `Change ${table.name}.${table.serial ?? 'id'} and its sequence to bigint.`,
      });
    }
    lifts.push({ ...sequence, largest });
  }
  return lifts;
}

interface TableSequence extends SequenceState {
  readonly table: ResolvedTable;
  /** Largest id of the table, 0 when it is empty. */
  readonly largest: number;
}

async function readSequences(
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
): Promise<readonly TableSequence[]> {
  const found = tables.flatMap((table) => {
    const sequence = state.live.sequences.find(
      (one) => one.table === table.name && one.column === table.serial,
    )?.sequence;
    const lifted = sequence !== undefined && table.restore.kind !== 'lookup';
    return lifted ? [{ table, sequence }] : [];
  });
  if (found.length === 0) return [];
  const selects = found.map(({ table, sequence }, at) => {
    const largest = `SELECT pg_catalog.max(${quoteIdent(table.serial ?? 'id')}) FROM ${quoteTable(state.live.schema, table.name)}`;
    return `SELECT ${at} AS n, issued::text, maximum::text, coalesce((${largest}), 0)::text AS largest FROM (${sequenceSql(sequence)}) q`;
  });
  const { rows } = await client.query<{ n: number; issued: string; maximum: string; largest: string }>(
    `${selects.join(' UNION ALL ')} ORDER BY n`,
  );
  return rows.flatMap(({ n, issued, maximum, largest }) => {
    const one = found[n];
    return one
      ? [{ ...one, issued: Number(issued), maximum: Number(maximum), largest: Number(largest) }]
      : [];
  });
}

/** @returns false when one of them was busy or is not ours; then none has changed */
async function tryRestart(client: Client, lifts: readonly Lift[]): Promise<boolean> {
  if (lifts.some(({ largest, maximum }) => largest >= maximum)) return false;
  const restarts = lifts.map(
    ({ sequence, largest }) => `ALTER SEQUENCE ${sequence} RESTART WITH ${largest + 1}`,
  );
  await client.query(`SAVEPOINT lifeboat_sequence; SET LOCAL lock_timeout = ${PATIENCE_MS}`);
  try {
    await client.query(
      `${restarts.join('; ')}; SET LOCAL lock_timeout = 0; RELEASE SAVEPOINT lifeboat_sequence`,
    );
    return true;
  } catch (error) {
    if (!TRY_SETVAL.includes(sqlStateOf(error))) throw error;
    await client.query('ROLLBACK TO SAVEPOINT lifeboat_sequence');
    return false;
  }
}

function setvalSql({ sequence, largest, maximum }: Lift): string {
  return `SELECT pg_catalog.setval('${sequence.replaceAll("'", "''")}'::regclass, ${Math.min(largest, maximum)})`;
}
