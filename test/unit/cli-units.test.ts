import { describe, expect, test } from 'vitest';
import { age, bytes, clock, count, duration, time } from '../../src/cli/text/units.ts';

describe('units for people', () => {
  test.each([
    [0, '0'],
    [999, '999'],
    [1000, '1,000'],
    [1234567, '1,234,567'],
  ])('count %d is %s', (value, text) => {
    expect(count(value)).toBe(text);
  });

  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 KB'],
    [999_949, '999.9 KB'],
    [999_950, '1.0 MB'],
    [45_200_000, '45.2 MB'],
    [1.5e12, '1.5 TB'],
    [2.5e15, '2500.0 TB'],
  ])('bytes %d is %s', (value, text) => {
    expect(bytes(value)).toBe(text);
  });

  test.each([
    [0.04, '0.0 s'],
    [59.94, '59.9 s'],
    [59.96, '1 min 0 s'],
    [75, '1 min 15 s'],
    [3599.6, '1 h 0 min'],
    [7260, '2 h 1 min'],
  ])('duration %d is %s', (value, text) => {
    expect(duration(value)).toBe(text);
  });

  test.each([
    [-1, '0:00'],
    [65, '1:05'],
    [3723, '1:02:03'],
  ])('clock %d is %s', (value, text) => {
    expect(clock(value)).toBe(text);
  });

  test('ages and times', () => {
    const now = new Date('2026-11-21T12:00:00Z');
    expect(age(new Date('2026-11-21T11:59:59Z'), now)).toBe('1 second ago');
    expect(age(new Date('2026-11-21T10:00:00Z'), now)).toBe('2 hours ago');
    expect(age(new Date('2026-11-01T12:00:00Z'), now)).toBe('20 days ago');
    expect(age(new Date('2026-11-21T12:00:05Z'), now)).toBe('just now');
    expect(time('2026-11-21T01:30:12.345Z')).toBe('2026-11-21 01:30:12 UTC');
    expect(time('whenever')).toBe('whenever');
  });
});
