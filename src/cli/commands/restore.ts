import type { RestoreRequest } from '../../engine/api.ts';
import type { InFlightPolicy, MergeStrategy, PauseState, RestoreWay } from '../../engine/plans.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { confirm } from '../confirm.ts';
import { liveRequest, openEnvironment, requireNamedEnvironment, withEngine } from '../context.ts';
import {
  DRY_RUN,
  ENCRYPT_CLEAR,
  IDENTITY_FILE,
  IGNORE_RUNNING,
  IN_FLIGHT,
  KEEP_RUN,
  restoreJobs,
  strategyFlag,
  UNREADABLE,
  YES,
} from '../flags.ts';
import { identitiesOf } from '../identities.ts';
import { counted } from '../text/units.ts';
import { namesRest } from '../rest.ts';
import { TASK_TOKEN_FLAGS } from '../task-token.ts';

const GROUP = 'Restore:';

export const restoreCommand: Command = {
  name: 'restore',
  summary: 'Restore a backup into an Airflow of the same minor or a newer one, or through a REST API',
  details:
    'Checks every part, then cleans (with --clean), loads, sets sequences and pause states; it all comes into force in one step at the end, or nothing does. Prints the plan first and asks for the name of the database, unless --yes. A target with history needs --clean. Variables, connections and pools that only the target has stay. With --dags, --exclude-dags or --since a part of the backup goes into a target that lives on: without --clean when it has none of these runs, with --clean in place of the same part of its history. With --airflow https://… or mwaa://… it writes through the REST API instead what that lets in: pools, variables, connections and pause states, step by step; docs/rest.md says how, and the same command goes on after an interruption.',
  takesBackup: true,
  uses: ['environment', 'storage'],
  flags: [
    {
      name: 'clean',
      kind: 'switch',
      group: GROUP,
      describe: 'Delete the history of the target first, as lifeboat cleanup does',
    },
    strategyFlag('variables'),
    strategyFlag('connections'),
    {
      name: 'keep-variables',
      kind: 'list',
      group: GROUP,
      describe: 'Variables with these keys stay as the target has them; those that it lacks are not added',
    },
    {
      name: 'keep-connections',
      kind: 'list',
      group: GROUP,
      describe: 'Through the REST API: connections with these ids stay as the target has them',
    },
    {
      name: 'pause-state',
      kind: 'text',
      group: GROUP,
      choices: ['backup', 'paused', 'unchanged'],
      fallback: 'backup',
      describe: 'DAGs get the pause state of the backup, are all paused until lifeboat activate, or stay',
    },
    {
      name: 'catchup',
      kind: 'text',
      group: GROUP,
      choices: ['hold', 'start'],
      fallback: 'hold',
      describe:
        'Through the REST API: DAGs whose catchup would start runs of the past at once stay paused, or are let go',
    },
    IN_FLIGHT,
    {
      name: 'history',
      kind: 'text',
      group: GROUP,
      choices: ['keep', 'mark'],
      fallback: 'keep',
      describe:
        'Through the REST API: finished runs stay in the backup (lifeboat show --runs), or are made again as runs in their final state; with --since a part of them',
    },
    {
      name: 'tables',
      kind: 'list',
      group: GROUP,
      describe: 'Only these tables, and those that they refer to',
    },
    {
      name: 'dags',
      kind: 'list',
      group: GROUP,
      describe:
        "Only the history of DAGs whose id matches one of these shell patterns, such as 'etl_*', and what it refers to",
    },
    {
      name: 'exclude-dags',
      kind: 'list',
      group: GROUP,
      describe: 'Not the history of DAGs whose id matches one of these shell patterns',
    },
    {
      name: 'since',
      kind: 'text',
      group: GROUP,
      describe:
        'Only runs that started at most this long before the backup was made, such as 30d or 12h, and those that had not ended',
    },
    UNREADABLE,
    ENCRYPT_CLEAR,
    {
      name: 'via',
      kind: 'text',
      group: GROUP,
      choices: ['shadow', 'in-place'],
      describe:
        'Load into tables beside the live ones, exchanged in the last moments, or into the live ones, locked meanwhile',
    },
    restoreJobs('Connections that load beside each other, via shadow'),
    IDENTITY_FILE,
    KEEP_RUN,
    IGNORE_RUNNING,
    ...TASK_TOKEN_FLAGS,
    DRY_RUN,
    YES,
  ],
  examples: [
    ['$0 restore latest --airflow postgresql://airflow@dr-db/airflow --dry-run', 'The plan'],
    ['$0 restore latest --airflow postgresql://airflow@dr-db/airflow --clean', 'Asks first'],
    ['$0 restore latest --airflow … --pause-state paused --yes', 'Then lifeboat activate latest, in waves'],
    ['$0 restore latest --airflow mwaa://dr?region=eu-west-1 --dry-run', 'The plan through a REST API'],
    ["$0 restore latest --airflow … --dags 'billing_*' --since 30d --dry-run", 'A part of it'],
    [
      '$0 restore latest --airflow https://… --history mark --since 30d',
      'With the runs of a month, as ended',
    ],
    ['$0 restore latest --airflow … --connections replace --variables skip', 'Strategies'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  const dryRun = args.switch('dry-run');
  if (!dryRun) requireNamedEnvironment(input);
  if (await namesRest(input)) {
    const { restoreIntoRest } = await import('../rest-restore.ts');
    return restoreIntoRest(input);
  }
  for (const [flag, next] of Object.entries(OF_REST)) {
    if (!args.given(flag)) continue;
    throw new LifeboatError('usage', `--${flag} is for restores through a REST API.`, { next });
  }
  const request = await restoreRequest(input, dryRun);
  const { restore } = await import('../../engine/restore.ts');
  const result = await withEngine(input, (ctx) => restore(ctx, request));
  const { restoreText } = await import('../text/restore.ts');
  return { ending: 'done', result: { ...result }, text: (style) => restoreText(result, style) };
}

const OF_REST = {
  history: 'Leave it out: a restore into a database brings the history itself.',
  catchup: 'Leave it out: a restore into a database brings the history, and nothing of it is run again.',
  'keep-connections': 'Leave it out, or keep all that are there with --connections append.',
};

async function restoreRequest(input: CommandInput, dryRun: boolean): Promise<RestoreRequest> {
  const { args } = input;
  const { environment, fernetKeys } = await openEnvironment(input);
  const { parseDuration, resolveSourceFernetKeys } = await import('../../config.ts');
  const [tables, dags, excludeDags] = [args.list('tables'), args.list('dags'), args.list('exclude-dags')];
  const since = args.text('since');
  const keepVariables = args.list('keep-variables');
  const via = args.text('via');
  return {
    environment,
    fernetKeys,
    ...(await identitiesOf(input)),
    dryRun,
    backup: args.backup,
    clean: args.switch('clean'),
    // readText let nothing through but the flag's choices.
    variables: args.text('variables') as MergeStrategy,
    connections: args.text('connections') as MergeStrategy,
    pauseState: args.text('pause-state') as PauseState,
    inFlight: args.text('in-flight') as InFlightPolicy,
    ...(keepVariables === undefined ? {} : { keepVariables }),
    ...(tables === undefined ? {} : { tables }),
    ...(dags === undefined ? {} : { dags }),
    ...(excludeDags === undefined ? {} : { excludeDags }),
    ...(since === undefined ? {} : { since: parseDuration(since, '--since') }),
    sourceFernetKeys: resolveSourceFernetKeys(input.host.env),
    unreadable: args.text('unreadable') === 'keep' ? 'keep' : 'refuse',
    encryptClear: args.switch('encrypt-clear'),
    ...(via === undefined ? {} : { via: via as RestoreWay }),
    jobs: args.count('jobs') ?? 2,
    ...liveRequest(input),
    confirm: (plan) => {
      const deletes = plan.tables.reduce((sum, one) => sum + one.deletes, 0);
      const deleting = deletes === 0 ? '' : `deletes ${counted(deletes, 'row')} of history and `;
      return confirm(input, {
        warning: `This ${deleting}restores ${plan.backupId} into ${plan.target.name}.`,
        phraseIs: 'the name of the database',
        phrase: environment.database,
      });
    },
  };
}
