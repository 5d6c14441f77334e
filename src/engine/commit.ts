import type { Client } from 'pg';
import { withClient } from '../db/connect.ts';
import { isDatabaseError } from '../db/sqlstate.ts';
import type { DatabaseTarget } from '../db/target.ts';
import { LifeboatError } from '../errors.ts';
import type { EngineContext } from './api.ts';
import { applicationName } from './session.ts';

/**
 * Commits, and finds out the truth when the connection breaks while the answer is on its way: the work may be done.
 *
 * @throws LifeboatError 'failed' that says whether the work was committed.
 */
export async function commitSurely(
  ctx: EngineContext,
  client: Client,
  target: DatabaseTarget,
): Promise<void> {
  const asked = await client.query<{ xid: string | null }>(
    'SELECT pg_catalog.txid_current_if_assigned()::text AS xid',
  );
  const xid = asked.rows[0]?.xid ?? null;
  ctx.signal.throwIfAborted();
  try {
    await client.query('COMMIT');
  } catch (error) {
    if (isDatabaseError(error) || xid === null) throw error;
    const outcome = await askOutcome(ctx, target, xid);
    if (outcome === 'committed') return;
    throw new LifeboatError(
      'failed',
      outcome === 'aborted'
        ? `The connection to ${target.name} was lost before the commit: the target is as it was.`
        : `The connection to ${target.name} was lost during the commit, and the server cannot be asked for the outcome.`,
      {
        next:
          outcome === 'aborted'
            ? 'Run the command again.'
            : `When the server is back, SELECT txid_status(${xid}) says whether it was committed; then go on or run the command again.`,
        details: { transaction: xid, outcome },
        cause: error,
      },
    );
  }
}

/** On a new connection, without the signal: the answer matters even when the user has asked to stop. */
async function askOutcome(ctx: EngineContext, target: DatabaseTarget, xid: string): Promise<string> {
  try {
    return await withClient(
      target,
      { applicationName: applicationName(ctx, 'commit check') },
      async (client) => {
        const result = await client.query<{ status: string | null }>(
          'SELECT pg_catalog.txid_status($1::int8) AS status',
          [xid],
        );
        return result.rows[0]?.status ?? 'unknown';
      },
    );
  } catch {
    return 'unknown';
  }
}
