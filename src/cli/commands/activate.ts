import type { Command, CommandInput, Outcome } from '../command.ts';
import { LifeboatError } from '../../errors.ts';
import { openEnvironment, withEngine } from '../context.ts';
import { DRY_RUN, YES } from '../flags.ts';
import { namesRest } from '../rest.ts';
import { activateText } from '../text/activate.ts';

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
    {
      name: 'catchup',
      kind: 'text',
      group: 'Activate:',
      choices: ['hold', 'start'],
      fallback: 'hold',
      describe:
        'Through the REST API: DAGs whose catchup would start runs of the past at once stay paused, or are let go',
    },
    DRY_RUN,
    // It deletes nothing and asks nothing; scripts pass --yes to every command that writes.
    { ...YES, hidden: true },
  ],
  examples: [
    ["$0 activate latest --dags 'billing_*'", 'A first wave'],
    ['$0 activate latest', 'All of them'],
    ['$0 activate latest --airflow mwaa://dr?region=eu-west-1 --dry-run', 'Through a REST API'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  const dryRun = args.switch('dry-run');
  if (await namesRest(input)) {
    const { activateRest } = await import('../rest-activate.ts');
    return activateRest(input);
  }
  if (args.given('catchup')) {
    throw new LifeboatError('usage', '--catchup is for an activation through a REST API.', {
      next: 'Leave it out: with the history in its database, Airflow knows how far each schedule is.',
    });
  }
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
