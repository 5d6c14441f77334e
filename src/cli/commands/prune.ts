import type { PruneRequest, PruneResult } from '../../engine/api.ts';
import type { Args } from '../args.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { confirm } from '../confirm.ts';
import { withEngine } from '../context.ts';
import { DRY_RUN, YES } from '../flags.ts';
import type { Flag } from '../flags.ts';
import type { Style } from '../text/style.ts';
import { bytes, counted } from '../text/units.ts';

const GROUP = 'Keep:';

/** Every rule adds to what is kept; the request's field of each. */
const PERIODS = [
  ['keep-hourly', 'keepHourly', 'hours'],
  ['keep-daily', 'keepDaily', 'days'],
  ['keep-weekly', 'keepWeekly', 'weeks'],
  ['keep-monthly', 'keepMonthly', 'months'],
  ['keep-yearly', 'keepYearly', 'years'],
] as const;

export const pruneCommand: Command = {
  name: 'prune',
  summary: 'Remove old backups by keep rules, and the debris of killed ones',
  details:
    'A backup stays when any rule keeps it, and never are fewer than --min-backups complete ones left. Folders without a manifest that are older than a day are debris and removed too; without a rule, only they are. Prints the plan first and asks, unless --yes.',
  uses: ['storage'],
  flags: [
    { name: 'keep-last', kind: 'count', group: GROUP, describe: 'The newest N' },
    {
      name: 'keep-within',
      kind: 'text',
      group: GROUP,
      describe: 'All not older than this, such as 12h, 30d or 8w',
    },
    ...PERIODS.map(([name, , periods]): Flag => ({
      name,
      kind: 'count',
      group: GROUP,
      describe: `The newest of each of the last N ${periods} with a backup`,
    })),
    {
      name: 'min-backups',
      kind: 'count',
      group: GROUP,
      fallback: 1,
      describe: 'Never leave fewer complete backups than this',
    },
    DRY_RUN,
    YES,
  ],
  examples: [
    ['$0 prune --storage ./backups --keep-daily 7 --keep-weekly 4 --dry-run', 'What would go'],
    [
      '$0 prune --storage s3://dr-bucket/airflow --keep-within 30d --min-backups 3 --yes',
      'From a scheduled job',
    ],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const request = await pruneRequest(input);
  const { prune } = await import('../../engine/prune.ts');
  const result = await withEngine(input, (ctx) => prune(ctx, request));
  return { ending: 'done', result: { ...result }, text: (style) => pruneText(result, style) };
}

async function pruneRequest(input: CommandInput): Promise<PruneRequest> {
  const { args } = input;
  const within = args.text('keep-within');
  const { parseDuration } = await import('../../config.ts');
  return {
    ...keepRules(args),
    ...(within === undefined ? {} : { keepWithin: parseDuration(within) }),
    minBackups: args.count('min-backups') ?? 1,
    dryRun: args.switch('dry-run'),
    confirm: (plan) => {
      const what = `${counted(plan.remove.length, 'backup')} and the debris of ${counted(plan.debris.length + plan.leftovers.length, 'other')}`;
      return confirm(input, {
        warning: `This removes ${what} for good.`,
        phraseIs: 'the word',
        phrase: 'prune',
      });
    },
  };
}

function keepRules(args: Args): Partial<PruneRequest> {
  const rules = [['keep-last', 'keepLast'] as const, ...PERIODS].flatMap(([flag, field]) => {
    const newest = args.count(flag);
    return newest === undefined ? [] : [[field, newest] as const];
  });
  return Object.fromEntries(rules);
}

function pruneText(result: PruneResult, style: Style): string {
  if (result.removed === undefined) return style.dim('Dry run: nothing was removed.');
  const { backups, debris, leftovers, objects, bytes: freed } = result.removed;
  return `${style.green('Removed')} ${counted(backups, 'backup')} and the debris of ${counted(debris + leftovers, 'other')}: ${counted(objects, 'object')}, ${bytes(freed)}.`;
}
