import type { Opener } from '../secrets/seal.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext, RestoreRequest } from './api.ts';
import { readChosen } from './chosen/facts.ts';
import type { ChosenFacts } from './chosen/facts.ts';
import { readPlanFacts } from './in-flight/plan.ts';
import type { PlanFacts } from './in-flight/plan.ts';
import { isSkipped } from './load-context.ts';
import type { Manifest } from './manifest.ts';
import type { RestorePlan } from './plans.ts';
import { planRestore } from './restore-plan.ts';
import { omittedWarnings, planUnsealing } from './sealed/open-backup.ts';
import { chooseWay } from './shadow/choose.ts';
import { beginReading, withSession } from './session.ts';
import { readTargetState } from './target-state.ts';
import type { TargetState } from './target-state.ts';

/** Everything that is known before a byte moves, and the plan that follows from it. */
export async function previewRestore(
  ctx: EngineContext,
  request: RestoreRequest,
  manifest: Manifest,
): Promise<Preview> {
  const preflight = { purpose: 'restore preflight', begin: beginReading };
  return withSession(ctx, request.environment, preflight, async (client) => {
    const state = await readTargetState(client, request.environment, request);
    const facts = await readPlanFacts(client, request.environment.schema, manifest, ctx.now());
    const chosen = await readChosen(ctx, client, { manifest, state, request });
    const planned = planRestore(manifest, state, request, facts, chosen);
    const { blockers, ...way } = await chooseWay(client, state, planned.tables, request);
    const plan = { ...planned.plan, ...way, blockers: [...planned.plan.blockers, ...blockers] };
    return withSecrets(ctx, manifest, request, { state, facts, chosen, tables: planned.tables, plan });
  });
}

export interface Preview {
  readonly state: TargetState;
  readonly facts: PlanFacts;
  readonly tables: readonly ResolvedTable[];
  readonly chosen: ChosenFacts | undefined;
  readonly plan: RestorePlan;
  readonly opener?: Opener;
}

/** The plan with what the secrets of this backup need or lack. */
async function withSecrets(
  ctx: EngineContext,
  manifest: Manifest,
  request: RestoreRequest,
  preview: Preview,
): Promise<Preview> {
  const { plan } = preview;
  const tables = preview.tables.map(({ name }) => name).filter((name) => !isSkipped(request, name));
  const { opener, blockers } = await planUnsealing(ctx, manifest, tables, request);
  return {
    ...preview,
    plan: {
      ...plan,
      blockers: [...plan.blockers, ...blockers],
      warnings: [...plan.warnings, ...omittedWarnings(manifest, tables)],
    },
    ...(opener ? { opener } : {}),
  };
}
