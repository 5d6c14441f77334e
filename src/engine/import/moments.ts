import type { Row } from './foreign.ts';

/** Columns that hold a time that had passed when the row was written. */
const PAST = [
  'dttm',
  'latest_heartbeat',
  'queued_at',
  'queued_dttm',
  'start_date',
  'end_date',
  'updated_at',
  'last_scheduling_decision',
  'timestamp',
  'created_date',
];
const TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?([+-]\d\d)(?::?(\d\d))?$/;

/** Milliseconds since the epoch, with the microseconds as their fraction; undefined for what is no time with a zone. */
export function moment(text: string | null | undefined): number | undefined {
  const [, date, time, fraction = '0', hours = '', minutes = '00'] = TIME.exec(text ?? '') ?? [];
  if (date === undefined) return undefined;
  const parsed = Date.parse(`${date}T${time}${hours}:${minutes}`);
  return Number.isNaN(parsed) ? undefined : parsed + Number(`0.${fraction}`) * 1000;
}

/** The newest time of the past in the rows seen: the other tools do not say when they looked. */
export function createNewest(): { see(row: Row): void; newest(): number | undefined } {
  let newest: number | undefined;
  return {
    see: (row) => {
      for (const column of PAST) {
        const found = moment(row[column]);
        if (found !== undefined && (newest === undefined || found > newest)) newest = found;
      }
    },
    newest: () => newest,
  };
}
