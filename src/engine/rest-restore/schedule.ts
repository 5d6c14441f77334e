/** What a DAG's page of the API tells of its schedule. */
export interface ScheduleFacts {
  readonly catchup: boolean;
  /** Cron expression, alias such as @daily, or a duration such as `1 day, 0:00:00`. */
  readonly timetable: string | null;
  /** Of the next run, milliseconds since the epoch; null: nothing is due by itself. */
  readonly intervalStart: number | null;
  readonly intervalEnd: number | null;
  readonly createAfter: number | null;
  /** No run's date lies after it; null: the schedule has no end, or nobody has asked. */
  readonly end: number | null;
}

/**
 * How many scheduled runs a scheduler would start at once if the DAG were let go now. Null: some, and the API does not
 * tell how many. Times of cron expressions are taken as UTC: the number may be off by one.
 */
export function dueRuns(facts: ScheduleFacts, now: number): number | null {
  const { catchup, createAfter, intervalStart, intervalEnd, timetable, end } = facts;
  if (createAfter === null) return 0;
  // The end is compared with a run's date, which is the start of its interval: the run is made later than that.
  const last = end === null ? now : Math.min(now, end + createAfter - (intervalStart ?? createAfter));
  if (createAfter > last) return 0;
  if (!catchup) return 1;
  const period = durationMs(timetable) ?? (intervalEnd ?? 0) - (intervalStart ?? 0);
  const cron = cronRuns(timetable ?? '', createAfter, last);
  if (cron !== undefined) return cron;
  return period > 0 ? Math.floor((last - createAfter) / period) + 1 : null;
}

const ALIASES: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@quarterly': '0 0 1 */3 *',
  '@yearly': '0 0 1 1 *',
};

const MINUTE = 60_000;
const DAY = 86_400_000;
/** A schedule that began when the epoch did is a mistake, and is counted as one that is that long. */
const MOST_DAYS = 60 * 366;

/** Times of a cron expression from one moment to another; undefined: it is none that is understood here. */
export function cronRuns(expression: string, from: number, to: number): number | undefined {
  const words = (ALIASES[expression] ?? expression).trim().split(/\s+/);
  if (words.length !== 5) return undefined;
  const [minutes, hours, days, months, weekdays] = BOUNDS.map((bounds, at) =>
    numbersOf(words[at] ?? '', bounds),
  );
  if (!minutes || !hours || !days || !months || !weekdays) return undefined;
  const either = words[2] !== '*' && words[4] !== '*';
  const fires = (day: Date): boolean => {
    const ofMonth = days.has(day.getUTCDate());
    const ofWeek = weekdays.has(day.getUTCDay()) || (day.getUTCDay() === 0 && weekdays.has(7));
    return months.has(day.getUTCMonth() + 1) && (either ? ofMonth || ofWeek : ofMonth && ofWeek);
  };
  let count = 0;
  const first = Math.floor(from / DAY) * DAY;
  for (let at = first, looked = 0; at <= to && looked < MOST_DAYS; at += DAY, looked += 1) {
    if (!fires(new Date(at))) continue;
    if (at >= from && at + DAY <= to) count += hours.size * minutes.size;
    else count += timesIn(at, hours, minutes).filter((time) => time >= from && time <= to).length;
  }
  return count;
}

function timesIn(day: number, hours: ReadonlySet<number>, minutes: ReadonlySet<number>): readonly number[] {
  return [...hours].flatMap((hour) => [...minutes].map((minute) => day + (hour * 60 + minute) * MINUTE));
}

const BOUNDS = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 7],
] as const;

const NAMES: readonly string[] = 'JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC'.split(' ');
const WEEKDAYS: readonly string[] = 'SUN MON TUE WED THU FRI SAT'.split(' ');

/** One field: a list of numbers and spans with steps. Undefined: something else. */
function numbersOf(field: string, [least, most]: readonly [number, number]): ReadonlySet<number> | undefined {
  const found = new Set<number>();
  for (const part of field.toUpperCase().split(',')) {
    const [, span = '', step = '1'] = /^([^/]+)(?:\/(\d+))?$/.exec(part) ?? [];
    const [start = '', end] = span === '*' ? [String(least), String(most)] : span.split('-');
    const from = numberOf(start, most);
    const to = end === undefined ? (part.includes('/') ? most : from) : numberOf(end, most);
    if (!(from >= least && to <= most && Number(step) > 0)) return undefined;
    for (let number = from; number <= to; number += Number(step)) found.add(number);
  }
  return found;
}

function numberOf(word: string, most: number): number {
  if (/^\d+$/.test(word)) return Number(word);
  const names = most === 12 ? NAMES : most === 7 ? WEEKDAYS : [];
  const at = names.indexOf(word);
  return at === -1 ? NaN : at + (most === 12 ? 1 : 0);
}

/** `1 day, 2:03:04`, as Python writes a timedelta. */
function durationMs(text: string | null): number | undefined {
  const [, days = '0', hours = '', minutes = '', seconds = ''] =
    /^(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)(?:\.\d+)?$/.exec(text ?? '') ?? [];
  if (hours === '') return undefined;
  return Number(days) * DAY + ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
}
