import type { Client } from 'pg';
import type { Manifest } from '../manifest.ts';
import type { InFlightPlan, InFlightPolicy } from '../plans.ts';
import { passedLimits, readRunTimeouts } from './limits.ts';

/** What a plan knows of the target besides its state. */
export interface PlanFacts {
  readonly now: Date;
  /** DAG id → dagrun_timeout in seconds, for DAGs with unfinished runs in the backup. */
  readonly runTimeouts: ReadonlyMap<string, number>;
}

export async function readPlanFacts(
  client: Client,
  schema: string,
  manifest: Manifest,
  now: Date,
): Promise<PlanFacts> {
  const runs = manifest.unfinished?.limits.filter((limit) => limit.kind === 'dagrun') ?? [];
  const dagIds = [...new Set(runs.map((run) => run.dagId))];
  return { now, runTimeouts: await readRunTimeouts(client, schema, dagIds) };
}

/** Pure: what the policy will meet, as far as the manifest says. */
export function planInFlight(manifest: Manifest, policy: InFlightPolicy, facts: PlanFacts): InFlightPlan {
  const { unfinished } = manifest;
  const limits = policy === 'resume' ? (unfinished?.limits ?? []) : [];
  return {
    policy,
    runs: unfinished?.runs ?? null,
    backfillRuns: unfinished?.backfillRuns ?? 0,
    tasks: unfinished?.tasks ?? null,
    passedLimits: passedLimits(limits, facts.runTimeouts, facts.now),
  };
}
