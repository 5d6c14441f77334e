import type { LeftOut } from '../../engine/plans.ts';
import type { Style } from './style.ts';
import { names, wrap } from './table.ts';
import { counted } from './units.ts';

/** One line a reason, since most are shared by several tables. */
export function leftOutText(leftOut: readonly LeftOut[], style: Style): string {
  const byReason = new Map<string, string[]>();
  for (const one of leftOut) {
    const rows = one.rows === undefined ? '' : counted(one.rows, 'row');
    const some = [one.columns?.join(', ') ?? '', rows].filter((text) => text !== '').join(' of ');
    const listed = one.names === undefined ? '' : `: ${names(one.names)}`;
    const what = some === '' ? one.table : `${one.table} (${some}${listed})`;
    byReason.set(one.reason, [...(byReason.get(one.reason) ?? []), what]);
  }
  if (byReason.size === 0) return '';
  const lines = [...byReason].map(
    ([reason, what]) => `  ${wrap(`${what.join(', ')}: ${reason}`, style.width, '    ')}`,
  );
  return [style.bold('Left out'), ...lines].join('\n');
}
