import { globToRegExp } from '../glob.ts';
import type { HeldDag, PauseState, RestDagsPlan } from '../plans.ts';
import type { StoredRecord } from './records.ts';
import type { TargetDag } from './target.ts';

export interface DagsWish {
  readonly pauseState: PauseState;
  readonly catchup: 'hold' | 'start';
  /** Whether the user means this DAG. */
  readonly isChosen: (dagId: string) => boolean;
  /** Scheduled runs that would start if a DAG of the target were let go; null: nobody knows how many. */
  readonly runsDue: (dag: TargetDag) => Promise<number | null>;
}

/** Which DAGs a restore pauses and lets go. */
export async function planDags(
  records: readonly StoredRecord[],
  target: ReadonlyMap<string, TargetDag>,
  { pauseState, catchup, isChosen, runsDue }: DagsWish,
): Promise<RestDagsPlan> {
  const unpause: string[] = [];
  const pause: string[] = [];
  const held: HeldDag[] = [];
  const startsOne: string[] = [];
  const missing: string[] = [];
  const carrying: string[] = [];
  let unchanged = 0;
  for (const record of records) {
    const dagId = record.dag_id ?? '';
    if (!isChosen(dagId) || isGone(record)) continue;
    const dag = target.get(dagId);
    const becomesPaused = pauseState === 'paused' || record.is_paused !== 'f';
    if (dag === undefined) missing.push(dagId);
    else if (pauseState === 'unchanged' || dag.paused === becomesPaused) unchanged += 1;
    else if (dag.carries) carrying.push(dagId);
    else if (becomesPaused) pause.push(dagId);
    else {
      const runs = await runsDue(dag);
      if (catchup === 'hold' && (runs === null || runs > 1)) held.push({ dagId, runs });
      else {
        unpause.push(dagId);
        if (runs === 1) startsOne.push(dagId);
      }
    }
  }
  return { unpause, pause, unchanged, held, startsOne, missing, carrying };
}

/** The source had no file of it any more either. */
function isGone({ is_active: active, is_stale: stale }: StoredRecord): boolean {
  return active === 'f' || stale === 't';
}

/** `--dags` and `--exclude-dags`. */
export function dagChooser(
  dags: readonly string[] | undefined,
  excludeDags: readonly string[] | undefined,
): (dagId: string) => boolean {
  const patterns = (globs: readonly string[]): readonly RegExp[] =>
    globs.map((glob) => new RegExp(globToRegExp(glob)));
  const wanted = dags === undefined ? undefined : patterns(dags);
  const unwanted = patterns(excludeDags ?? []);
  const meets = (dagId: string, all: readonly RegExp[]): boolean => all.some((one) => one.test(dagId));
  return (dagId) => (wanted === undefined || meets(dagId, wanted)) && !meets(dagId, unwanted);
}
