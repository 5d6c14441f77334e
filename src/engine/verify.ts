import { quoteTable } from '../db/introspect.ts';
import type { DatabaseTarget } from '../db/target.ts';
import { restTables } from '../versions/rest-tables.ts';
import type { EngineContext, VerifyRequest, VerifyResult } from './api.ts';
import { resolveBackup } from './catalog.ts';
import { detectEnvironment } from './detect.ts';
import { quoteIdent } from '../db/introspect.ts';
import type { Manifest } from './manifest.ts';
import type { ApiTarget } from './rest/api.ts';
import { countRows } from './rest/plan.ts';
import { openerOf } from './sealed/open-backup.ts';
import { beginReading, withSession } from './session.ts';
import { checkParts } from './verify-parts.ts';

/**
 * Proves a backup: re-reads every part, re-hashes it, unpacks it and counts its rows. With an environment, row counts are
 * compared with it too. Sealed secrets are proven as stored bytes, and with an identity also opened and counted.
 *
 * @throws LifeboatError 'integrity' that names what is wrong
 */
export async function verify(ctx: EngineContext, request: VerifyRequest): Promise<VerifyResult> {
  const started = ctx.now().getTime();
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  ctx.report({
    event: 'phase',
    phase: 'verify',
    message: `Re-reading ${manifest.totals.parts} parts of backup ${backupId}`,
  });
  const { identities } = request;
  const opener = identities && isSealed(manifest) ? await openerOf(manifest, identities) : undefined;
  const checked = await checkParts(ctx, manifest, { countRows: true, ...(opener ? { opener } : {}) });
  const { environment } = request;
  const differences =
    environment === undefined
      ? undefined
      : 'client' in environment
        ? await compareApiCounts(ctx, manifest, environment)
        : await compareCounts(ctx, manifest, environment);
  return {
    backupId,
    ...checked,
    ...(isSealed(manifest) ? { sealed: opener ? ('opened' as const) : ('not opened' as const) } : {}),
    seconds: (ctx.now().getTime() - started) / 1000,
    ...(differences === undefined ? {} : { differences }),
  };
}

function isSealed(manifest: Manifest): boolean {
  return manifest.secrets.mode === 'sealed';
}

async function compareCounts(
  ctx: EngineContext,
  manifest: Manifest,
  environment: DatabaseTarget,
): Promise<NonNullable<VerifyResult['differences']>> {
  return withSession(ctx, environment, { purpose: 'verify', begin: beginReading }, async (client) => {
    const { tables } = await detectEnvironment(client, environment);
    const differences: { table: string; backup: number; database: number }[] = [];
    for (const stored of manifest.tables) {
      const table = tables.find((one) => one.name === stored.name);
      const only = table?.only?.replaceAll('{schema}', quoteIdent(environment.schema));
      const result = table
        ? await client.query<{ rows: string }>(
            `SELECT pg_catalog.count(*) AS rows FROM ${quoteTable(environment.schema, stored.name)}${only === undefined ? '' : ` WHERE ${only}`}`,
          )
        : undefined;
      const database = Number(result?.rows[0]?.rows ?? 0);
      if (database !== stored.rows) differences.push({ table: stored.name, backup: stored.rows, database });
    }
    return differences;
  });
}

/** Tables that the API does not count are told, and not compared. */
async function compareApiCounts(
  ctx: EngineContext,
  manifest: Manifest,
  { client }: ApiTarget,
): Promise<NonNullable<VerifyResult['differences']>> {
  const differences: { table: string; backup: number; database: number }[] = [];
  const uncounted: string[] = [];
  const known = restTables(client.airflow);
  for (const stored of manifest.tables) {
    const table = known.find(({ name }) => name === stored.name);
    const counted = table === undefined ? null : await countRows(client, table.read);
    if (counted === null) uncounted.push(stored.name);
    else if (counted !== stored.rows) {
      differences.push({ table: stored.name, backup: stored.rows, database: counted });
    }
  }
  if (uncounted.length > 0) {
    ctx.report({
      event: 'warning',
      code: 'rest-uncounted',
      message: `The API of ${client.name} does not count ${uncounted.join(', ')}: their rows are not compared.`,
      next: '`lifeboat diff` reads and compares what the API gives.',
    });
  }
  return differences;
}
