import type { Row } from '../../rest/pages.ts';
import { createKeySet } from '../import/key-set.ts';
import type { RunKey } from './read-tasks.ts';

/** The runs that are in the backup already. */
export interface RunIndex {
  add(run: RunKey): void;
  has(run: RunKey): boolean;
  /** The run that an XCom of a list belongs to, if it is one of these. */
  ofXcom(xcom: Row): RunKey | undefined;
}

/** v2 tells the run's id: a few bytes a run are enough to know it. */
export function createRunIndex(api: 'v1' | 'v2'): RunIndex {
  return api === 'v2' ? byId() : byDate();
}

function byId(): RunIndex {
  const keys = createKeySet();
  const has = ({ dagId, runId }: RunKey): boolean => keys.has(dagId, runId);
  return {
    add: ({ dagId, runId }) => {
      keys.add(dagId, runId);
    },
    has,
    ofXcom: ({ dag_id: dagId, run_id: runId }) => {
      const key = { dagId: String(dagId), runId: String(runId), logicalDate: null };
      return has(key) ? key : undefined;
    },
  };
}

/** v1 tells the date alone, and to ask for the value one needs the id: some two hundred bytes a run. */
function byDate(): RunIndex {
  const runs = new Map<string, RunKey>();
  const nameOf = (dagId: unknown, date: unknown): string => JSON.stringify([dagId, date]);
  return {
    add: (run) => {
      runs.set(nameOf(run.dagId, run.logicalDate), run);
    },
    has: (run) => runs.get(nameOf(run.dagId, run.logicalDate))?.runId === run.runId,
    ofXcom: ({ dag_id: dagId, execution_date: date }) => runs.get(nameOf(dagId, date)),
  };
}
