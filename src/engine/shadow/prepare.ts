import type { Client } from 'pg';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { EngineContext, RestoreRequest } from '../api.ts';
import type { LoadContext } from '../load-context.ts';
import { stageTable } from '../load-tables.ts';
import { storedTable } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import { removeEvents } from '../orphan-events.ts';
import { createLoad, createSecrets } from '../restore-parts.ts';
import type { Secrets } from '../restore-parts.ts';
import type { Preview } from '../restore-preview.ts';
import type { Prepared } from './exchange.ts';
import { orphanList, sharedTables } from './fill.ts';
import type { Filled } from './fill.ts';
import { shadowJobs } from './jobs.ts';
import type { ShadowPlan } from './jobs.ts';
import { rehearseMerge } from './merge.ts';
import { planShadow, shadowLoad } from './plan.ts';
import { settleShadow } from './settle.ts';
import type { Settled } from './settle.ts';
import { runJobs } from './workers.ts';

/** All of a restore that nobody has to wait for. A drill ends here. */

export interface LoadedShadow {
  readonly plan: ShadowPlan;
  /** On the connection that leads. */
  readonly load: LoadContext;
  readonly filled: Filled;
  readonly secrets: Secrets;
}

/** Makes the shadow, fills it, and gives it indexes, keys and rights. */
export async function loadShadow(
  ctx: EngineContext,
  request: RestoreRequest,
  lead: Client,
  manifest: Manifest,
  { preview, schema, drill = false }: { preview: Preview; schema: string; drill?: boolean },
): Promise<LoadedShadow> {
  const { state, tables } = preview;
  const plan = await planShadow(lead, schema, manifest, state, tables, drill);
  const secrets = createSecrets(ctx, request, manifest, preview.opener);
  const load: LoadContext = {
    ...createLoad(ctx, request, lead, {
      manifest,
      state,
      tables,
      chosen: undefined,
      deleted: plannedDeletes(preview, plan, request.clean),
      ...secrets.load,
    }),
    shadow: shadowLoad(plan, state, request.clean),
  };
  for (const { name } of plan.tables) {
    if (storedTable(manifest, name) && !plan.moving.has(name)) load.ids.set(name, 'kept');
  }
  const message = `Loading ${tables.length} tables beside the live ones`;
  ctx.report({ event: 'phase', phase: 'load', message });
  const filled: Filled = { loaded: new Map(), authorless: new Map(), orphanEvents: 0 };
  await runJobs(ctx, request.environment, shadowJobs(plan, load, filled), {
    connections: request.jobs ?? 2,
    owner: plan.owner,
    signal: ctx.signal,
  });
  await dropOrphans(load, plan, filled);
  return { plan, load, filled, secrets };
}

export interface ReadyShadow {
  readonly settled: Settled;
  /** The same, with the ids of merged tables as the target is now. */
  readonly merging: LoadContext;
  readonly rekeyed: ReturnType<Secrets['finish']>;
  readonly prepared: Prepared;
}

/**
 * Decides about unfinished runs, and finds out what becomes of the merged tables.
 *
 * @throws LifeboatError 'refused' when there are secrets that no known key reads
 */
export async function prepareExchange(
  { plan, load, secrets }: LoadedShadow,
  request: RestoreRequest,
  tables: readonly ResolvedTable[],
): Promise<ReadyShadow> {
  const settled = await settleShadow(load, plan, request);
  const merged = tables.filter(({ restore }) => restore.kind === 'merge');
  const merging: LoadContext = { ...load, ids: new Map(load.ids) };
  for (const table of merged) if (storedTable(load.manifest, table.name)) await stageTable(merging, table);
  const rekeyed = secrets.finish();
  load.progress.end();
  const prepared: Prepared = {
    merged,
    rehearsed: await rehearseMerge(merging, merged, request.fernetKeys),
    keys: request.fernetKeys,
    helpers: await sharedTables(load.client, plan.place),
    excluded: settled.inFlight?.policy === 'exclude' && merged.some(({ name }) => name === 'dag'),
    linked: new Set(),
  };
  return { settled, merging, rekeyed, prepared };
}

function plannedDeletes(
  { state }: Preview,
  { tables }: ShadowPlan,
  clean: boolean,
): ReadonlyMap<string, number> {
  const deletes = tables.map(({ name }): [string, number] => {
    const count = state.counts.get(name) ?? { rows: 0, live: 0 };
    return [name, clean ? count.rows - count.live : 0];
  });
  return new Map(deletes);
}

async function dropOrphans(load: LoadContext, { place }: ShadowPlan, filled: Filled): Promise<void> {
  if (filled.orphanEvents === 0) return;
  const { loaded } = await removeEvents(load, [...filled.loaded.values()], orphanList(place));
  for (const one of loaded) filled.loaded.set(one.table, one);
}
