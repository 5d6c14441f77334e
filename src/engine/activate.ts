import { quoteTable } from '../db/introspect.ts';
import { LifeboatError } from '../errors.ts';
import type { ActivateRequest, ActivateResult, EngineContext } from './api.ts';
import { carries, knownCarriers } from './carriers.ts';
import { resolveBackup } from './catalog.ts';
import { commitSurely } from './commit.ts';
import { lockEnvironment } from './locks.ts';
import { globToRegExp } from './glob.ts';
import { databaseSource, storedTable } from './manifest.ts';
import { loadParts } from './part-reader.ts';
import { planRestore } from './restore-plan.ts';
import { beginWork, withSession } from './session.ts';
import { createStage, stageName } from './stage.ts';
import { readTargetState } from './target-state.ts';
import { quoteIdent } from '../db/introspect.ts';
import { checkParts } from './verify-parts.ts';

const DAG = 'dag';

/**
 * Second step after `restore --pause-state paused`: gives DAGs the pause state that they have in the backup, all at once
 * or in waves by pattern. DAGs that the backup does not know are left alone, and so are
 * those that carry backups and restores.
 */
export async function activate(ctx: EngineContext, request: ActivateRequest): Promise<ActivateResult> {
  const { environment } = request;
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  databaseSource(manifest);
  const stored = storedTable(manifest, DAG);
  if (!stored) {
    throw new LifeboatError('usage', `Backup ${backupId} holds no DAGs.`, {
      next: 'Use a backup that was made with the table dag.',
    });
  }
  await checkParts(ctx, manifest, { countRows: false, only: DAG });
  return withSession(ctx, environment, { purpose: 'activate', begin: beginWork }, async (client) => {
    const state = await readTargetState(client, environment);
    const asked = {
      clean: false,
      variables: 'skip',
      connections: 'skip',
      pauseState: 'backup',
      tables: [DAG],
      fernetKeys: [],
    } as const;
    // Only for its refusals: another minor, content that is not known.
    planRestore(manifest, state, asked, { now: ctx.now(), runTimeouts: new Map() });
    await lockEnvironment(client, state.facts.name);
    await createStage(client, environment.schema, DAG, stored.columns);
    const columns = stored.columns.map(quoteIdent).join(', ');
    await loadParts(
      ctx,
      client,
      `COPY ${stageName(DAG)} (${columns}) FROM STDIN (FORMAT csv)`,
      stored,
      () => undefined,
    );

    const target = quoteTable(environment.schema, DAG);
    const chosen = await client.query<{
      dag_id: string;
      was: boolean | null;
      becomes: boolean | null;
      there: boolean;
      carries: boolean;
    }>(
      `SELECT s.dag_id, t.is_paused AS was, s.is_paused AS becomes, t.dag_id IS NOT NULL AS there,
              ${carries(environment.schema, 's', '$2')} AS carries
         FROM ${stageName(DAG)} s LEFT JOIN ${target} t USING (dag_id)
        WHERE s.dag_id ~ $1 ORDER BY 1`,
      [globToRegExp(request.dags ?? '*'), knownCarriers(manifest)],
    );
    const different = chosen.rows.filter((row) => row.there && row.was !== row.becomes);
    const changing = different.filter((row) => !row.carries);
    if (!request.dryRun) {
      await client.query(
        `UPDATE ${target} t SET is_paused = s.is_paused FROM ${stageName(DAG)} s
          WHERE t.dag_id = s.dag_id AND t.dag_id = ANY ($1::text[])`,
        [changing.map((row) => row.dag_id)],
      );
      await commitSurely(ctx, client, environment);
    }
    return {
      backupId,
      unpaused: changing.filter((row) => row.becomes === false).map((row) => row.dag_id),
      paused: changing.filter((row) => row.becomes !== false).map((row) => row.dag_id),
      unchanged: chosen.rows.filter((row) => row.there && row.was === row.becomes).length,
      carrying: different.filter((row) => row.carries).map((row) => row.dag_id),
      missing: chosen.rows.filter((row) => !row.there).map((row) => row.dag_id),
    };
  });
}
