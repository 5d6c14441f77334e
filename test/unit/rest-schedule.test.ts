import { describe, expect, test } from 'vitest';
import { cronRuns, dueRuns, type ScheduleFacts } from '../../src/engine/rest-restore/schedule.ts';

const at = (text: string): number => Date.parse(`${text}Z`);

describe('times of a cron expression', () => {
  test.each([
    ['0 0 * * *', '2026-11-01T00:00', '2026-11-10T23:59', 10],
    ['@daily', '2026-11-01T00:01', '2026-11-10T00:00', 9],
    ['@hourly', '2026-11-01T00:00', '2026-11-02T00:00', 25],
    ['*/15 8-9 * * MON-FRI', '2026-11-21T00:00', '2026-11-24T09:15', 14],
    ['0 0 1,15 * *', '2026-01-01T00:00', '2026-12-31T00:00', 24],
    // Both restricted: either will do, as in every cron.
    ['0 0 1 * 1', '2026-11-01T00:00', '2026-11-30T23:00', 6],
    ['0 6 * * 7', '2026-11-01T00:00', '2026-11-30T00:00', 5],
    ['30 23 31 12 *', '2020-01-01T00:00', '2026-11-30T00:00', 6],
    ['5/20 0 * * *', '2026-11-01T00:00', '2026-11-01T23:00', 3],
  ])('%s from %s to %s: %i', (expression, from, to, count) => {
    expect(cronRuns(expression, at(from), at(to))).toBe(count);
  });

  test.each(['Dataset', '1 day, 0:00:00', '* * * *', '61 * * * *', '0 0 * * *  *', '@once', '0 0 L * *'])(
    '%s is none',
    (text) => {
      expect(cronRuns(text, 0, at('2026-01-01T00:00'))).toBeUndefined();
    },
  );
});

describe('runs that a DAG would start at once', () => {
  const facts: ScheduleFacts = {
    catchup: true,
    timetable: '0 0 * * *',
    intervalStart: at('2026-11-01T00:00'),
    intervalEnd: at('2026-11-02T00:00'),
    createAfter: at('2026-11-02T00:00'),
    end: null,
  };
  const now = at('2026-11-21T12:00');

  test.each<[string, Partial<ScheduleFacts>, number | null]>([
    ['with catchup all that are due', {}, 20],
    ['without catchup the latest', { catchup: false }, 1],
    ['none when the next is still to come', { createAfter: at('2026-11-22T00:00') }, 0],
    ['up to the end, which may be a date of a run', { end: at('2026-11-03T00:00') }, 3],
    ['none after the end', { end: at('2026-10-31T23:59') }, 0],
    ['and without catchup none either', { end: at('2026-10-31T23:59'), catchup: false }, 0],
    ['by an interval up to the end', { timetable: 'of our own', end: at('2026-11-03T12:00') }, 3],
    ['none without a schedule', { createAfter: null }, 0],
    ['by the duration of a timedelta', { timetable: '2 days, 12:00:00' }, 8],
    ['by the length of an interval', { timetable: 'of our own' }, 20],
    ['an unknown number', { timetable: 'of our own', intervalEnd: at('2026-11-01T00:00') }, null],
  ])('%s', (_title, more, runs) => {
    expect(dueRuns({ ...facts, ...more }, now)).toBe(runs);
  });
});
