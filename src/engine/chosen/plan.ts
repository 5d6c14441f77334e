import type { ResolvedTable } from '../../versions/registry.ts';
import { storedTable } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import type { ChosenPart, InFlightPlan, RestorePlanTable } from '../plans.ts';
import type { ChosenFacts } from './facts.ts';

/** Names in a plan; beyond it the list helps nobody. */
const MAX_NAMES = 200;

export function chosenPart(manifest: Manifest, { choice, dagIds, runs }: ChosenFacts): ChosenPart {
  return {
    dags: choice.dags,
    excludeDags: choice.excludeDags,
    since: choice.since ?? null,
    dagIds: dagIds.slice(0, MAX_NAMES),
    dagCount: dagIds.length,
    runs,
    runsInBackup: storedTable(manifest, 'dag_run')?.rows ?? 0,
  };
}

/** The manifest counts unfinished work of all DAGs; of the chosen part only the runs are known beforehand. */
export function chosenInFlight(all: InFlightPlan, chosen: ChosenFacts | undefined): InFlightPlan {
  if (!chosen) return all;
  const dags = new Set(chosen.dagIds);
  return {
    ...all,
    runs: chosen.unfinished,
    backfillRuns: chosen.backfillRuns,
    tasks: null,
    passedLimits: all.passedLimits.filter(({ dagId }) => dags.has(dagId)),
  };
}

/** DAGs and runs are counted beforehand; of all other rows only what the backup has is known. */
export function chosenLoads(
  table: ResolvedTable,
  rows: number,
  chosen: ChosenFacts | undefined,
): Pick<RestorePlanTable, 'loads' | 'atMost'> {
  if (!chosen || table.chosen.by === 'environment' || rows === 0) return { loads: rows };
  if (table.name === 'dag') return { loads: chosen.dags };
  if (table.name === 'dag_run') return { loads: chosen.runs };
  return { loads: rows, atMost: true };
}

export function chosenNotes(table: ResolvedTable, chosen: ChosenFacts | undefined): readonly string[] {
  if (!chosen || table.chosen.by !== 'referrers') return [];
  return [table.chosen.named ? 'those that chosen tasks use' : 'those that chosen rows refer to'];
}
