import type { ActivateResult } from '../../engine/api.ts';
import type { RestActivateResult } from '../../engine/rest-restore/activate.ts';
import { heldText } from './rest-restore.ts';
import type { Style } from './style.ts';
import { labelled, names, wrap } from './table.ts';
import { count } from './units.ts';

export function activateText(result: ActivateResult, target: string, dryRun: boolean, style: Style): string {
  const would = dryRun ? 'Would unpause' : 'Unpaused';
  const lines = [
    `${style.bold(result.backupId)} → ${target}`,
    wrap(listed(would, result.unpaused), style.width, '  '),
    wrap(listed(dryRun ? 'Would pause' : 'Paused', result.paused), style.width, '  '),
    `Already as in the backup: ${count(result.unchanged)}`,
    result.carrying.length === 0 ? '' : listed('Lifeboat’s own, left alone', result.carrying),
    result.missing.length === 0
      ? ''
      : labelled(style.yellow, '!', listed('Not in the target', result.missing), style),
    dryRun ? style.dim('Dry run: nothing was changed.') : '',
  ];
  return lines.filter((line) => line !== '').join('\n');
}

function listed(what: string, ids: readonly string[]): string {
  return ids.length === 0 ? `${what}: none` : `${what} (${count(ids.length)}): ${names(ids)}`;
}

export function restActivateText(
  result: RestActivateResult,
  target: string,
  dryRun: boolean,
  style: Style,
): string {
  return [activateText(result, target, dryRun, style), ...attention(result, style)].join('\n');
}

function attention({ held, startsOne, refused }: RestActivateResult, style: Style): readonly string[] {
  const points = [
    ...refused.map(({ name, message }) => `Airflow did not take ${name}: ${message}`),
    ...(startsOne.length === 0 ? [] : [`At once one run of each of these starts: ${names(startsOne)}.`]),
    ...(held.length === 0 ? [] : [`Still paused: ${heldText(held)}. --catchup start lets them go.`]),
  ];
  return points.map((text) => labelled(style.yellow, '!', text, style));
}
