import { quoteTable } from '../db/introspect.ts';
import type { DatabaseTarget } from '../db/target.ts';
import type { EngineContext, VerifyRequest, VerifyResult } from './api.ts';
import { resolveBackup } from './catalog.ts';
import { detectEnvironment } from './detect.ts';
import { quoteIdent } from '../db/introspect.ts';
import type { Manifest } from './manifest.ts';
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
  const differences =
    request.environment === undefined ? undefined : await compareCounts(ctx, manifest, request.environment);
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
