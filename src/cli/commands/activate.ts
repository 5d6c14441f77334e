import type { ActivateResult } from '../../engine/api.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { openEnvironment, withEngine } from '../context.ts';
import { DRY_RUN, YES } from '../flags.ts';
import type { Style } from '../text/style.ts';
import { labelled, names, wrap } from '../text/table.ts';
import { count } from '../text/units.ts';

export const activateCommand: Command = {
  name: 'activate',
  summary: 'Give DAGs the pause states of a backup, after restore --pause-state paused',
  takesBackup: true,
  uses: ['environment', 'storage'],
  flags: [
    {
      name: 'dags',
      kind: 'text',
      group: 'Activate:',
      describe: "Only DAGs whose id matches this shell pattern, such as 'etl_*'",
    },
    DRY_RUN,
    // It deletes nothing and asks nothing; scripts pass --yes to every command that writes.
    { ...YES, hidden: true },
  ],
  examples: [
    ["$0 activate latest --dags 'billing_*'", 'A first wave'],
    ['$0 activate latest', 'All of them'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  const dryRun = args.switch('dry-run');
  const { environment } = await openEnvironment(input);
  const dags = args.text('dags');
  const request = { environment, backup: args.backup, dryRun, ...(dags === undefined ? {} : { dags }) };
  const { activate } = await import('../../engine/activate.ts');
  const result = await withEngine(input, (ctx) => activate(ctx, request));
  return {
    ending: 'done',
    result: { ...result, dryRun },
    text: (style) => activateText(result, environment.name, dryRun, style),
  };
}

function activateText(result: ActivateResult, target: string, dryRun: boolean, style: Style): string {
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
