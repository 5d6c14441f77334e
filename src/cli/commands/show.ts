import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { withEngine } from '../context.ts';
import type { Flag } from '../flags.ts';

const GROUP = 'Runs:';
const LIMIT = 100;

/** They choose among the runs. */
const CHOICES: readonly Flag[] = [
  {
    name: 'dags',
    kind: 'list',
    group: GROUP,
    describe: "Only those of DAGs whose id matches one of these shell patterns, such as 'etl_*'",
  },
  {
    name: 'exclude-dags',
    kind: 'list',
    group: GROUP,
    describe: 'Not those of DAGs whose id matches one of these shell patterns',
  },
  {
    name: 'state',
    kind: 'list',
    group: GROUP,
    describe: 'Only those in one of these states: queued, running, success, failed',
  },
  {
    name: 'since',
    kind: 'text',
    group: GROUP,
    describe:
      'Only those that started at most this long before the backup was made, such as 30d or 12h, and those that had not ended',
  },
  {
    name: 'limit',
    kind: 'count',
    group: GROUP,
    fallback: LIMIT,
    describe: 'The newest of them; all are counted',
  },
];

export const showCommand: Command = {
  name: 'show',
  summary: 'Show one backup: source, tables, and what was left out and why; or its runs',
  details:
    'With --runs it lists the DAG runs of the backup instead, newest first by their logical dates, and counts them by state: what a restore through the REST API leaves in the backup can be looked up there.',
  takesBackup: true,
  uses: ['storage'],
  flags: [
    { name: 'runs', kind: 'switch', group: GROUP, describe: 'List the DAG runs of the backup' },
    ...CHOICES,
  ],
  examples: [
    ['$0 show latest --storage ./backups', 'The newest backup'],
    [
      '$0 show 20261121T01 --storage s3://dr-bucket/airflow --json',
      'By a unique prefix, with the whole manifest',
    ],
    ["$0 show latest --runs --dags 'billing_*' --state failed --since 30d", 'What failed in a month'],
    ['$0 show latest --runs --limit 100000 --json', 'A line a run, then a summary with the counts'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  if (input.args.switch('runs')) return showRuns(input);
  const stray = CHOICES.filter(({ name }) => input.args.given(name)).map(({ name }) => `--${name}`);
  if (stray.length > 0) {
    throw new LifeboatError('usage', `${stray.join(' and ')} choose among the runs of a backup.`, {
      next: 'Add --runs, or leave it out.',
    });
  }
  const { resolveBackup } = await import('../../engine/catalog.ts');
  const { backupId, manifest } = await withEngine(input, (ctx) => resolveBackup(ctx, input.args.backup));
  const { manifestText } = await import('../text/manifest.ts');
  return { ending: 'done', result: { backupId, manifest }, text: (style) => manifestText(manifest, style) };
}

async function showRuns(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  const { parseDuration } = await import('../../config.ts');
  const { listRuns } = await import('../../engine/list-runs.ts');
  const lists = {
    dags: args.list('dags'),
    excludeDags: args.list('exclude-dags'),
    states: args.list('state'),
  };
  const since = args.text('since');
  const { runs, ...counts } = await withEngine(input, (ctx) =>
    listRuns(ctx, {
      backup: args.backup,
      ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list !== undefined)),
      ...(since === undefined ? {} : { since: parseDuration(since, '--since') }),
      limit: args.count('limit') ?? LIMIT,
    }),
  );
  const { runsText } = await import('../text/runs.ts');
  return {
    ending: 'done',
    lines: runs.map((one) => ({ event: 'run', ...one })),
    result: { ...counts, listed: runs.length },
    text: (style) => runsText({ ...counts, runs }, style),
  };
}
