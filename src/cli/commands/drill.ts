import type { DrillRequest, DrillResult } from '../../engine/api.ts';
import type { InFlightPolicy, MergeStrategy } from '../../engine/plans.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { carryingTask, openEnvironment, withEngine } from '../context.ts';
import { ENCRYPT_CLEAR, IDENTITY_FILE, IN_FLIGHT, restoreJobs, strategyFlag, UNREADABLE } from '../flags.ts';
import { identitiesOf } from '../identities.ts';
import { TASK_TOKEN_FLAGS } from '../task-token.ts';

export const drillCommand: Command = {
  name: 'drill',
  summary: 'Try whether a backup restores into an environment, and how long it takes',
  details:
    'Does everything of lifeboat restore --clean --via shadow up to the exchange of the tables: loads the backup into a schema of its own beside the live tables, builds indexes and keys, counts rows, tries every secret with the target’s Fernet key, decides about unfinished runs, checks what the rows refer to. Then it drops the schema. Live tables are only read; the scheduler may run, and the target may be the source. What it found is stored in drills/ of the storage, for lifeboat status. A backup that does not pass ends with the code that the restore would end with.',
  takesBackup: true,
  uses: ['environment', 'storage'],
  flags: [
    strategyFlag('variables'),
    strategyFlag('connections'),
    IN_FLIGHT,
    UNREADABLE,
    ENCRYPT_CLEAR,
    restoreJobs('Connections that load beside each other'),
    IDENTITY_FILE,
    ...TASK_TOKEN_FLAGS,
  ],
  examples: [
    [
      '$0 drill latest --airflow postgresql://airflow@dr-db/airflow',
      'In the environment that waits for the day',
    ],
    ['$0 drill latest --storage s3://dr-bucket/airflow --jobs 1', 'In the source itself, by night, gently'],
    ['$0 drill latest --airflow … --json', 'For a schedule: rows, times, secrets, result'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const request = await drillRequest(input);
  const { drill } = await import('../../engine/drill.ts');
  const result = await withEngine(input, (ctx) => drill(ctx, request));
  const { drillText } = await import('../text/drill.ts');
  const outcome: Outcome = {
    ending: 'done',
    result: { ...result },
    text: (style) => drillText(result, style),
  };
  const error = errorOf(result);
  return error ? { ...outcome, error } : outcome;
}

/** A drill that failed has a result all the same. */
function errorOf({ failure, drillId }: DrillResult): LifeboatError | undefined {
  if (failure === null) return undefined;
  const { kind, message, next, phase } = failure;
  return new LifeboatError(kind, message, {
    ...(next === null ? {} : { next }),
    details: { drillId, phase },
  });
}

async function drillRequest(input: CommandInput): Promise<DrillRequest> {
  const { args } = input;
  const { environment, fernetKeys } = await openEnvironment(input);
  const { resolveSourceFernetKeys } = await import('../../config.ts');
  return {
    environment,
    fernetKeys,
    ...(await identitiesOf(input)),
    backup: args.backup,
    // readText let nothing through but the flag's choices.
    variables: args.text('variables') as MergeStrategy,
    connections: args.text('connections') as MergeStrategy,
    inFlight: args.text('in-flight') as InFlightPolicy,
    sourceFernetKeys: resolveSourceFernetKeys(input.host.env),
    unreadable: args.text('unreadable') === 'keep' ? 'keep' : 'refuse',
    encryptClear: args.switch('encrypt-clear'),
    jobs: args.count('jobs') ?? 2,
    ...carryingTask(input),
  };
}
