import { LEFT_OUT_PREFIXES, LEFT_OUT_TABLES } from '../tables/index.ts';
import type { DetectedEnvironment } from './detect.ts';
import type { BackupPlan, LeftOut, PlanWarning } from './plans.ts';
import type { PlannedSecrets } from './sealed/plan-secrets.ts';
import type { Selection } from './selection.ts';
import type { CopyItem } from './work.ts';

/** Pure: what a backup of this environment will hold, and what not and why. */
export function planBackup(input: {
  readonly backupId: string;
  readonly detected: DetectedEnvironment;
  /** What the user chose, and what of it is copied. */
  readonly chosen: Selection;
  readonly selection: Selection;
  readonly items: readonly CopyItem[];
  readonly jobs: number;
  readonly compression: string;
  readonly maxRate: number | null;
  readonly secrets: Pick<PlannedSecrets, 'leftOut' | 'plan' | 'warnings'>;
  /** Values that are not stored. */
  readonly withheld: readonly LeftOut[];
}): BackupPlan {
  const { detected, chosen, selection, items, secrets, withheld } = input;
  return {
    kind: 'backup',
    backupId: input.backupId,
    source: detected.facts,
    jobs: input.jobs,
    compression: input.compression,
    maxRate: input.maxRate,
    tables: selection.tables.map(({ name }) => {
      const own = items.filter((item) => item.table.name === name);
      const addedFor = selection.addedFor.get(name);
      return {
        table: name,
        parts: own.length,
        estimatedBytes: Math.round(own.reduce((sum, item) => sum + item.estimatedBytes, 0)),
        ...(addedFor === undefined ? {} : { addedFor }),
      };
    }),
    leftOut: [...secrets.leftOut, ...withheld, ...leftOut(detected, chosen)],
    secrets: secrets.plan,
    warnings: [...warnings(detected), ...secrets.warnings],
  };
}

function leftOut(detected: DetectedEnvironment, selection: Selection): readonly LeftOut[] {
  const chosen = new Set(selection.tables.map((table) => table.name));
  const covered = new Set(detected.tables.map((table) => table.name));
  const result: LeftOut[] = [];
  for (const table of detected.tables) {
    if (!chosen.has(table.name)) {
      result.push({ table: table.name, reason: 'not chosen (--tables, --exclude-tables)' });
      continue;
    }
    for (const [reason, columns] of columnsByReason(detected, table.name)) {
      result.push({ table: table.name, columns, reason });
    }
  }
  for (const name of detected.live.tables.keys()) {
    if (!covered.has(name)) result.push({ table: name, reason: reasonForTable(name) });
  }
  return result;
}

function columnsByReason(
  detected: DetectedEnvironment,
  name: string,
): ReadonlyMap<string, readonly string[]> {
  const spec = detected.tables.find((table) => table.name === name);
  const covered = new Set(spec?.columns.map((column) => column.name));
  const reasons = new Map(spec?.leftOutColumns.map((column) => [column.name, column.reason]));
  const grouped = new Map<string, string[]>();
  for (const column of detected.live.tables.get(name)?.columns.keys() ?? []) {
    if (covered.has(column)) continue;
    const reason = reasons.get(column) ?? 'not a column of this Airflow';
    grouped.set(reason, [...(grouped.get(reason) ?? []), column]);
  }
  return grouped;
}

function reasonForTable(name: string): string {
  const known =
    LEFT_OUT_TABLES.find((table) => table.name === name) ??
    LEFT_OUT_PREFIXES.find((table) => name.startsWith(table.name));
  return known?.reason ?? 'not a table of this Airflow';
}

function warnings(detected: DetectedEnvironment): readonly PlanWarning[] {
  return detected.driftNotes.map((note) => ({ code: 'drift', message: `In the source, ${note}.` }));
}
