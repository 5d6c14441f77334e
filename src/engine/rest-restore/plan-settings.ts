import type { Row } from '../../rest/pages.ts';
import type { Gaps } from '../rest/gaps.ts';
import type { MergeStrategy, RestSettingsPlan } from '../plans.ts';
import type { StoredRows } from './records.ts';
import { likeness, notTaken, type Setting, type SettingSpec, toSettings } from './settings.ts';

export interface PlannedSettings {
  readonly spec: SettingSpec;
  readonly add: readonly Setting[];
  readonly replace: readonly Setting[];
  /** Names of those that stay although the backup has another value. */
  readonly keptDifferent: readonly string[];
  readonly plan: RestSettingsPlan;
}

export interface SettingsWish {
  readonly strategy: MergeStrategy;
  /** They stay as the target has them, and are not added. */
  readonly keep?: readonly string[];
}

/** Pure: what becomes of each pool, variable or connection of the backup. */
export function planSettings(
  spec: SettingSpec,
  stored: StoredRows,
  found: ReadonlyMap<string, Row>,
  release: string,
  { strategy, keep = [] }: SettingsWish,
  gaps: Gaps,
): PlannedSettings {
  const { settings, lacking } = toSettings(spec, stored.records, release);
  const add: Setting[] = [];
  const replace: Setting[] = [];
  const keptDifferent: string[] = [];
  let same = 0;
  let keeps = 0;
  for (const setting of settings) {
    const there = found.get(setting.name);
    const alike = there === undefined ? undefined : likeness(spec, setting.body, there);
    if (alike === 'same') same += 1;
    else if (strategy === 'skip' || keep.includes(setting.name) || (alike && strategy === 'append')) {
      keeps += 1;
      if (alike === 'different') keptDifferent.push(setting.name);
    } else (alike === undefined ? add : replace).push(setting);
  }
  const lacks = strategy === 'skip' ? [] : [...stored.lacking, ...lacking];
  for (const { name, reason } of lacks) gaps.row(spec.table, name, reason);
  for (const [wishes, replaces] of [
    [add, false],
    [replace, true],
  ] as const) {
    for (const setting of wishes) {
      for (const { column, reason } of notTaken(spec, setting, { release, replaces })) {
        gaps.value(spec.table, column, setting.name, reason);
      }
    }
  }
  return {
    spec,
    add,
    replace,
    keptDifferent,
    plan: {
      table: spec.table,
      strategy,
      inBackup: stored.records.length + stored.lacking.length,
      adds: add.length,
      replaces: replace.length,
      same,
      keeps,
      lacking: lacks.length,
    },
  };
}
