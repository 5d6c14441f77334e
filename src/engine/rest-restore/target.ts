import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import { fits, getOne } from '../../rest/one.ts';
import { allRows, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import type { NamedList } from '../../versions/rest.ts';
import { together } from '../rest/reading.ts';
import { dueRuns, type ScheduleFacts } from './schedule.ts';
import { SETTINGS } from './settings.ts';

/** A DAG that the target has parsed. */
export interface TargetDag {
  readonly dagId: string;
  readonly paused: boolean;
  /** It carries backups or restores: it has Lifeboat's tag. */
  readonly carries: boolean;
  /** Undefined: only its own page tells. */
  readonly due: Omit<ScheduleFacts, 'catchup' | 'timetable' | 'end'>;
}

export interface RestTarget {
  readonly settings: Readonly<Record<NamedList, ReadonlyMap<string, Row>>>;
  /** Rows of the target that it fails at itself, by list. */
  readonly broken: Readonly<Record<NamedList, number>>;
  readonly dags: ReadonlyMap<string, TargetDag>;
}

/** What is there before anything is written. */
export async function readTarget(client: RestClient): Promise<RestTarget> {
  const broken = { pools: 0, variables: 0, connections: 0 };
  const read = async ({ kind, key }: (typeof SETTINGS)[number]): Promise<[NamedList, Map<string, Row>]> => {
    const rows = await allRows(client, {
      ...client.dialect.lists[kind],
      exactNumbers: false,
      onUnreadable: () => {
        broken[kind] += 1;
      },
    });
    return [kind, new Map(rows.map((row) => [String(row[key]), row]))];
  };
  const settings = Object.fromEntries(await together(SETTINGS, read)) as Record<NamedList, Map<string, Row>>;
  const dags = (await allRows(client, client.dialect.lists.dags)).filter(isParsed).map(toDag);
  return { settings, broken, dags: new Map(dags.map((dag) => [dag.dagId, dag])) };
}

/** Without its file nothing of it can be run or paused for long. */
export function isParsed({ is_stale: stale, is_active: active }: Row): boolean {
  return stale !== true && active !== false;
}

/** Tag of DAGs that carry backups and restores. */
const CARRIER_TAG = 'lifeboat';

export function toDag(row: Row): TargetDag {
  const tags = Array.isArray(row.tags) ? (row.tags as readonly Row[]) : [];
  return {
    dagId: String(row.dag_id),
    paused: row.is_paused !== false,
    carries: tags.some((tag) => tag.name === CARRIER_TAG),
    due: {
      intervalStart: timeOf(row.next_dagrun_data_interval_start),
      intervalEnd: timeOf(row.next_dagrun_data_interval_end),
      // v1, v2
      createAfter: timeOf(row.next_dagrun_create_after ?? row.next_dagrun_run_after),
    },
  };
}

function timeOf(value: unknown): number | null {
  const time = typeof value === 'string' ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? null : time;
}

/** Runs that would start at once if the DAG were let go. Null: nobody knows how many. */
export async function runsDue(
  client: RestClient,
  { dagId, due }: TargetDag,
  now: number,
): Promise<number | null> {
  const atMost = dueRuns({ ...due, catchup: true, timetable: null, end: null }, now);
  if (atMost === 0) return 0;
  const path = restPath('/dags/{dagId}/details', { dagId });
  if (!fits(client, path)) return null;
  const details = await detailsOf(client, path);
  if (details === undefined) return null;
  const catchup = details.catchup !== false;
  return dueRuns({ ...due, catchup, timetable: timetableOf(details), end: timeOf(details.end_date) }, now);
}

/** Undefined: it is not there, or cannot be shown. */
async function detailsOf(client: RestClient, path: string): Promise<Row | undefined> {
  try {
    return (await getOne(client, path)) as Row | undefined;
  } catch (thrown) {
    if (isRestError(thrown, 500)) return undefined;
    throw thrown;
  }
}

/** v2 says it in words of its own; v1 as a record of a cron expression or of a duration. */
function timetableOf({ timetable_summary: summary, schedule_interval: interval }: Row): string | null {
  if (typeof summary === 'string') return summary;
  if (typeof interval !== 'object' || interval === null) return null;
  const { value, days, seconds } = interval as Row;
  if (typeof value === 'string') return value;
  if (typeof days !== 'number' || typeof seconds !== 'number') return null;
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${days} days, ${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
