import type { PruneRequest } from './api.ts';
import { backupTime } from './layout.ts';

export type KeepRules = Pick<
  PruneRequest,
  | 'keepLast'
  | 'keepWithin'
  | 'keepHourly'
  | 'keepDaily'
  | 'keepWeekly'
  | 'keepMonthly'
  | 'keepYearly'
  | 'minBackups'
>;

/** The newest backup of each period is kept, for the given number of periods that have one. UTC. */
const PERIODS: readonly {
  readonly rule: keyof KeepRules;
  readonly reason: string;
  readonly of: (time: Date) => string;
}[] = [
  { rule: 'keepHourly', reason: 'hourly', of: (time) => time.toISOString().slice(0, 13) },
  { rule: 'keepDaily', reason: 'daily', of: (time) => time.toISOString().slice(0, 10) },
  { rule: 'keepWeekly', reason: 'weekly', of: weekOf },
  { rule: 'keepMonthly', reason: 'monthly', of: (time) => time.toISOString().slice(0, 7) },
  { rule: 'keepYearly', reason: 'yearly', of: (time) => time.toISOString().slice(0, 4) },
];

export function hasRules(rules: KeepRules): boolean {
  return (
    rules.keepLast !== undefined ||
    rules.keepWithin !== undefined ||
    PERIODS.some(({ rule }) => rules[rule] !== undefined)
  );
}

/**
 * Which backups stay, and why. Pure. Without any rule all stay. `minBackups` of the newest stay whatever the rules say.
 *
 * @param ids complete backups in any order
 * @returns id → reasons, newest first; what is not in it goes
 */
export function keptBackups(
  ids: readonly string[],
  rules: KeepRules,
  now: Date,
): ReadonlyMap<string, readonly string[]> {
  const newestFirst = [...ids].sort().toReversed();
  if (!hasRules(rules)) return new Map(newestFirst.map((id) => [id, ['no rule given']]));
  const reasons = new Map<string, string[]>();
  const keep = (id: string, reason: string): void => {
    reasons.set(id, [...(reasons.get(id) ?? []), reason]);
  };
  newestFirst.slice(0, rules.keepLast ?? 0).forEach((id) => {
    keep(id, 'last');
  });
  if (rules.keepWithin !== undefined) {
    const since = now.getTime() - rules.keepWithin;
    newestFirst
      .filter((id) => backupTime(id) >= since)
      .forEach((id) => {
        keep(id, 'within');
      });
  }
  for (const { rule, reason, of } of PERIODS) {
    const seen = new Set<string>();
    for (const id of newestFirst) {
      const period = of(new Date(backupTime(id)));
      if (seen.has(period) || seen.size >= (rules[rule] ?? 0)) continue;
      seen.add(period);
      keep(id, reason);
    }
  }
  for (const id of newestFirst.slice(0, rules.minBackups)) if (!reasons.has(id)) keep(id, 'minimum');
  return new Map(
    newestFirst.flatMap((id) => (reasons.has(id) ? [[id, reasons.get(id) ?? []] as const] : [])),
  );
}

/** Monday of the week, as a date. */
function weekOf(time: Date): string {
  const day = (time.getUTCDay() + 6) % 7;
  return new Date(time.getTime() - day * 86_400_000).toISOString().slice(0, 10);
}
