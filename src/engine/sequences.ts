import type { Client } from 'pg';
import { quoteTable } from '../db/introspect.ts';
import { sqlStateOf } from '../db/sqlstate.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext } from './api.ts';
import { maxOf, readSequence } from './target-state.ts';
import type { TargetState } from './target-state.ts';

/** Others hold a sequence for as long as a transaction in which they took an id from it. */
const PATIENCE_MS = 50;
/** insufficient_privilege, lock_not_available */
const TRY_SETVAL: readonly (string | undefined)[] = ['42501', '55P03'];

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
  for (const table of tables) {
    if (table.serial === undefined || table.restore.kind === 'lookup') continue;
    const sequence = await readSequence(client, state, table);
    if (!sequence) continue;
    const largest = await maxOf(client, quoteTable(state.live.schema, table.name), table.serial);
    if (largest <= sequence.issued) continue;
    if (largest >= sequence.maximum) {
      ctx.report({
        event: 'warning',
        code: 'sequence-exhausted',
        message: `The largest id of ${table.name} is ${largest}, the last one its sequence can give: new rows will fail.`,
        next: `Change ${table.name}.${table.serial} and its sequence to bigint.`,
      });
    }
    await liftSequence(client, sequence.sequence, largest, sequence.maximum);
  }
}

async function liftSequence(
  client: Client,
  sequence: string,
  largest: number,
  maximum: number,
): Promise<void> {
  const setval = `SELECT pg_catalog.setval('${sequence.replaceAll("'", "''")}'::regclass, ${Math.min(largest, maximum)})`;
  if (largest >= maximum) {
    await client.query(setval);
    return;
  }
  await client.query('SAVEPOINT lifeboat_sequence');
  try {
    await client.query(`SET LOCAL lock_timeout = ${PATIENCE_MS}`);
    await client.query(`ALTER SEQUENCE ${sequence} RESTART WITH ${largest + 1}`);
    await client.query('SET LOCAL lock_timeout = 0; RELEASE SAVEPOINT lifeboat_sequence');
  } catch (error) {
    if (!TRY_SETVAL.includes(sqlStateOf(error))) throw error;
    await client.query('ROLLBACK TO SAVEPOINT lifeboat_sequence');
    await client.query(setval);
  }
}
