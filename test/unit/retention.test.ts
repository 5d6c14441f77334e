import { describe, expect, test } from 'vitest';
import { makeBackupId } from '../../src/engine/layout.ts';
import { hasRules, keptBackups } from '../../src/engine/retention.ts';
import type { KeepRules } from '../../src/engine/retention.ts';

const NOW = new Date('2026-11-21T12:00:00Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let counter = 0;
function id(time: string | number): string {
  counter += 1;
  return makeBackupId(new Date(time), counter.toString(16).padStart(6, '0'));
}

/** Times of what is kept, newest first, as far as they tell one from another. */
function kept(ids: readonly string[], rules: Partial<KeepRules>): readonly string[] {
  return [...keptBackups(ids, { minBackups: 0, ...rules }, NOW).keys()].map((one) => one.slice(0, 13));
}

/** One every hour, newest at 11:30 of the day. */
const hourly = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, at) => id(NOW.getTime() - HOUR / 2 - at * HOUR));

test('without a rule everything stays', () => {
  const ids = hourly(50);
  expect(kept(ids, {})).toHaveLength(50);
  expect(hasRules({ minBackups: 3 })).toBe(false);
  expect(hasRules({ minBackups: 0, keepYearly: 0 })).toBe(true);
});

test('the last n, whatever order they are given in', () => {
  const ids = hourly(10);
  const shuffled = [...ids.slice(5), ...ids.slice(0, 5)];
  expect(kept(shuffled, { keepLast: 3 })).toEqual(['20261121T1130', '20261121T1030', '20261121T0930']);
  expect(kept(ids, { keepLast: 100 })).toHaveLength(10);
});

test('within a time, its edge included', () => {
  const at = (offset: number): string => id(NOW.getTime() - offset);
  const [inside, edge, outside] = [at(DAY - 1), at(DAY), at(DAY + 1)];
  const result = keptBackups([inside, edge, outside], { keepWithin: DAY, minBackups: 0 }, NOW);
  expect([...result.keys()]).toEqual([inside, edge]);
});

describe('periods end at their edge in UTC', () => {
  const EDGES: readonly (readonly [rule: keyof KeepRules, last: string, first: string])[] = [
    ['keepHourly', '2026-11-21T10:59:59.999Z', '2026-11-21T11:00:00.000Z'],
    ['keepDaily', '2026-11-20T23:59:59.999Z', '2026-11-21T00:00:00.000Z'],
    // 2026-11-15 is a Sunday, 2026-11-16 a Monday.
    ['keepWeekly', '2026-11-15T23:59:59.999Z', '2026-11-16T00:00:00.000Z'],
    ['keepMonthly', '2026-10-31T23:59:59.999Z', '2026-11-01T00:00:00.000Z'],
    ['keepMonthly', '2024-02-29T23:59:59.999Z', '2024-03-01T00:00:00.000Z'],
    ['keepYearly', '2025-12-31T23:59:59.999Z', '2026-01-01T00:00:00.000Z'],
    // A week that lies in two years is one week: 2025-12-29 to 2026-01-04.
    ['keepWeekly', '2025-12-28T23:59:59.999Z', '2025-12-29T00:00:00.000Z'],
  ];

  test.each(EDGES)('%s: %s and %s are two', (rule, last, first) => {
    const [before, after] = [id(last), id(first)];
    const result = keptBackups([before, after], { [rule]: 2, minBackups: 0 }, NOW);
    expect([...result.keys()]).toEqual([after, before]);
    const earlier = id(new Date(last).getTime() - 1);
    const two = keptBackups([earlier, before], { [rule]: 2, minBackups: 0 }, NOW);
    expect([...two.keys()], 'of one period the newest stays').toEqual([before]);
  });

  test('New Year does not cut a week', () => {
    const ids = [id('2025-12-31T12:00:00Z'), id('2026-01-01T12:00:00Z')];
    expect(kept(ids, { keepWeekly: 5 })).toEqual(['20260101T1200']);
    expect(kept(ids, { keepMonthly: 5 })).toHaveLength(2);
  });

  test('the time zone of the machine changes nothing', () => {
    const zone = process.env.TZ;
    try {
      for (const other of ['Pacific/Kiritimati', 'Pacific/Pago_Pago']) {
        process.env.TZ = other;
        const ids = [id('2026-11-20T23:30:00Z'), id('2026-11-21T00:30:00Z'), id('2026-11-21T10:30:00Z')];
        expect(kept(ids, { keepDaily: 9 }), other).toEqual(['20261121T1030', '20261120T2330']);
      }
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });
});

test('periods without a backup do not count', () => {
  const ids = [id('2026-11-21T01:00:00Z'), id('2026-11-10T01:00:00Z'), id('2026-06-01T01:00:00Z')];
  expect(kept(ids, { keepDaily: 2 })).toEqual(['20261121T0100', '20261110T0100']);
});

test('rules add up, and each says why', () => {
  const ids = hourly(72);
  const result = keptBackups(ids, { keepLast: 2, keepDaily: 3, minBackups: 1 }, NOW);
  expect([...result.values()]).toEqual([['last', 'daily'], ['last'], ['daily'], ['daily']]);
  expect([...result.keys()].map((one) => one.slice(0, 13))).toEqual([
    '20261121T1130',
    '20261121T1030',
    '20261120T2330',
    '20261119T2330',
  ]);
});

test('the newest stay whatever the rules say', () => {
  const ids = hourly(5);
  const result = keptBackups(ids, { keepWithin: 1, minBackups: 2 }, NOW);
  expect([...result]).toEqual([
    [ids[0], ['minimum']],
    [ids[1], ['minimum']],
  ]);
  expect(kept(ids, { keepLast: 0, minBackups: 1 })).toHaveLength(1);
  expect(kept([], { keepLast: 3, minBackups: 1 })).toEqual([]);
});

test('a year of hourly backups by the usual rules', () => {
  const ids = hourly(24 * 400);
  const rules = { keepHourly: 24, keepDaily: 7, keepWeekly: 5, keepMonthly: 12, keepYearly: 2 };
  const result = keptBackups(ids, { ...rules, minBackups: 1 }, NOW);
  const count = (reason: string): number =>
    [...result.values()].filter((reasons) => reasons.includes(reason)).length;
  expect(['hourly', 'daily', 'weekly', 'monthly', 'yearly'].map(count)).toEqual([24, 7, 5, 12, 2]);
  expect(result.has(ids[0] ?? '')).toBe(true);
});

test('two backups of one millisecond are two', () => {
  const time = '2026-11-21T01:00:00Z';
  expect(kept([id(time), id(time)], { keepLast: 2 })).toHaveLength(2);
});
