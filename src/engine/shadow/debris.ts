import type { Client } from 'pg';
import { withClient } from '../../db/connect.ts';
import { quoteIdent } from '../../db/introspect.ts';
import type { DatabaseTarget } from '../../db/target.ts';
import type { EngineContext } from '../api.ts';
import { isLockRefused, waitForWorkers } from '../locks.ts';
import { applicationName } from '../session.ts';

/** Start of the comment by which a schema is known as ours. A schema without it is never touched, whatever its name. */
export const SHADOW_COMMENT = 'lifeboat shadow';

/** A foreign key to a live table makes the drop lock that one for a moment: in attempts nobody notices. */
const ATTEMPT_MS = 60;
const ATTEMPTS = 60;

/**
 * Removes what killed restores and drills left behind. The caller holds the lock of the environment, so that no owner lives; its
 * server processes may still be at the last thing they were told, and are waited for.
 *
 * @returns names of the schemas that were removed
 */
export async function removeDebris(
  ctx: EngineContext,
  lead: Client,
  environment: DatabaseTarget,
): Promise<readonly string[]> {
  const { rows } = await lead.query<{ name: string }>(
    `SELECT nspname AS name FROM pg_catalog.pg_namespace
      WHERE nspname LIKE 'lifeboat\\_%' AND pg_catalog.obj_description(oid, 'pg_namespace') LIKE $1 AND pg_catalog.pg_has_role(nspowner, 'MEMBER')`,
    [`${SHADOW_COMMENT} %`],
  );
  const names = rows.map((row) => row.name);
  if (names.length === 0) return [];
  await waitForWorkers(lead);
  for (const name of names) await dropShadow(ctx, environment, name);
  return names;
}

/** Drops a shadow on a connection of its own, also after the user has asked to stop. */
async function dropShadow(ctx: EngineContext, environment: DatabaseTarget, schema: string): Promise<void> {
  await withClient(environment, { applicationName: applicationName(ctx, 'tidying') }, async (client) => {
    await client.query(`SET lock_timeout = ${ATTEMPT_MS}`);
    for (let attempt = 1; ; attempt++) {
      try {
        await client.query(`DROP SCHEMA IF EXISTS ${quoteIdent(schema)} CASCADE`);
        return;
      } catch (error) {
        if (!isLockRefused(error) || attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 100));
      }
    }
  });
}

/** Drops a shadow that is of no more use, or says that it could not be: the server may be gone, or somebody reads it. */
export async function tidyShadow(
  ctx: EngineContext,
  environment: DatabaseTarget,
  schema: string,
): Promise<void> {
  await dropShadow(ctx, environment, schema).catch(() => {
    ctx.report({
      event: 'warning',
      code: 'shadow-left',
      message: `The schema ${schema} is left behind in ${environment.name}; the tables of Airflow are as they were.`,
      next: 'The next restore or drill removes it.',
    });
  });
}
