import type { BackupRequest, BackupResult } from '../../engine/api.ts';
import type { RestBackupRequest, RestBackupResult, XcomChoice } from '../../engine/rest/api.ts';
import type { SecretsMode } from '../../engine/manifest.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { carryingTask, openEnvironment, withEngine } from '../context.ts';
import { DRY_RUN, SEAL_TO } from '../flags.ts';
import { readInput } from '../read-input.ts';
import { namesRest, withRest } from '../rest.ts';
import type { Style } from '../text/style.ts';
import { labelled, names, wrap } from '../text/table.ts';
import { bytes, counted, duration } from '../text/units.ts';
import { TASK_TOKEN_FLAGS } from '../task-token.ts';

const GROUP = 'Backup:';

export const backupCommand: Command = {
  name: 'backup',
  summary: 'Back up the metadata database as it is at one moment, or what the REST API gives',
  details:
    'Reads the metadata database in one snapshot and stores every table that carries state. The backup exists when its manifest is written, last; a run that fails or is killed leaves none. The source is only read. With --airflow https://… or mwaa://… it reads the REST API instead, which has no snapshot and does not give everything: the manifest says what is missing, and runs that changed meanwhile.',
  uses: ['environment', 'storage'],
  flags: [
    {
      name: 'tables',
      kind: 'list',
      group: GROUP,
      describe: 'Only these tables, and those that they refer to',
    },
    { name: 'exclude-tables', kind: 'list', group: GROUP, describe: 'All tables but these' },
    { name: 'jobs', kind: 'count', group: GROUP, fallback: 2, describe: 'Connections that read in parallel' },
    {
      name: 'compression',
      kind: 'text',
      group: GROUP,
      fallback: 'gzip:1',
      describe: 'gzip:LEVEL, or zstd:LEVEL where this Node has it',
    },
    {
      name: 'max-rate',
      kind: 'text',
      group: GROUP,
      describe:
        'Read at most so much a second from the server, over all connections and before compression, such as 50MB/s or 500kB/s',
    },
    {
      name: 'xcoms',
      kind: 'text',
      group: GROUP,
      choices: ['all', 'unfinished'],
      describe:
        'Through the REST API, where each value is a request: the XComs of all runs, or of unfinished ones alone; default all',
    },
    { name: 'label', kind: 'text', group: GROUP, describe: 'A note for list and show' },
    {
      name: 'secrets',
      kind: 'text',
      group: 'Secrets:',
      choices: ['ciphertext', 'sealed', 'omit'],
      describe:
        'Secrets as the database has them, sealed for --seal-to, or left out; default ciphertext, sealed with --seal-to',
    },
    SEAL_TO,
    {
      name: 'secrets-from',
      kind: 'text',
      group: 'Secrets:',
      describe:
        'File with the secrets that the REST API masks, read inside Airflow: {"variables":{KEY:VALUE},"connections":{ID:{"password":…,"extra":…}}}; - is stdin. --dry-run --json lists them as plan.masked',
    },
    DRY_RUN,
    ...TASK_TOKEN_FLAGS,
  ],
  examples: [
    ['$0 backup --airflow postgresql://airflow@db/airflow --storage s3://dr-bucket/airflow', 'To S3'],
    ['$0 backup --storage ./backups --label "before upgrade"', 'Environment from LIFEBOAT_AIRFLOW'],
    ['$0 backup --storage ./backups --jobs 1 --max-rate 20MB/s', 'From a primary that must not feel it'],
    ['$0 backup --storage ./backups --exclude-tables log --dry-run', 'What would be stored'],
    [
      '$0 backup --airflow mwaa://prod?region=eu-west-1 --storage s3://dr-bucket/airflow --seal-to age1…',
      'Through the REST API, where nobody reaches the database',
    ],
    [
      '$0 backup --storage s3://dr-bucket/airflow --seal-to age1… --seal-to awskms://alias/dr?region=eu-west-1',
      'Secrets that only the recipients can read',
    ],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  if (await namesRest(input)) return runThroughRest(input);
  if (input.args.given('secrets-from')) throw notOfDatabases();
  const request = await backupRequest(input);
  const { backup } = await import('../../engine/backup.ts');
  const result = await withEngine(input, (ctx) => backup(ctx, request));
  return { ending: 'done', result: { ...result }, text: (style) => backupText(result, style) };
}

/** Of flags about connections to a database. */
const OF_DATABASES = ['jobs', 'max-rate', 'schema'] as const;

async function givenSecrets(input: CommandInput): Promise<Pick<RestBackupRequest, 'given'>> {
  const file = input.args.text('secrets-from');
  if (file === undefined) return {};
  const { parseGivenSecrets } = await import('../../engine/rest/given.ts');
  return { given: parseGivenSecrets(await readInput(input, file, '--secrets-from')) };
}

async function runThroughRest(input: CommandInput): Promise<Outcome> {
  const { args, host } = input;
  const stray = OF_DATABASES.filter((name) => args.given(name));
  if (stray.length > 0) {
    throw new LifeboatError('usage', `--${stray.join(' and --')} is for backups of a database.`, {
      next: 'Leave it out: a backup through the REST API paces its requests by itself.',
    });
  }
  const { fernetKeysAreLent, resolveFernetKeys } = await import('../../config.ts');
  const settings = await storedSettings(input);
  const { backupThroughRest } = await import('../../engine/rest/backup.ts');
  const keys = { fernetKeys: resolveFernetKeys(host.env), fernetKeysLent: fernetKeysAreLent(host.env) };
  const given = await givenSecrets(input);
  // readText let nothing through but the flag's choices.
  const chosen = args.text('xcoms') as XcomChoice | undefined;
  const choices = { ...settings, ...keys, ...given, ...(chosen === undefined ? {} : { xcoms: chosen }) };
  const result = await withRest(input, (client, via) =>
    withEngine(input, (ctx) => backupThroughRest(ctx, { ...choices, client, via })),
  );
  return { ending: 'done', result: { ...result }, text: (style) => backupText(result, style) };
}

function notOfDatabases(): LifeboatError {
  return new LifeboatError('usage', '--secrets-from is for backups through the REST API.', {
    next: 'Leave it out: the database has every secret. Or name the API: --airflow https://… or mwaa://….',
  });
}

async function backupRequest(input: CommandInput): Promise<BackupRequest> {
  const { args } = input;
  if (args.given('xcoms')) {
    throw new LifeboatError('usage', '--xcoms is for backups through the REST API.', {
      next: 'Leave it out, or leave out all XComs with --exclude-tables xcom.',
    });
  }
  const { parseRate } = await import('../../config.ts');
  const maxRate = args.text('max-rate');
  return {
    ...(await openEnvironment(input)),
    ...(await storedSettings(input)),
    jobs: args.count('jobs') ?? 2,
    ...carryingTask(input),
    ...(maxRate === undefined ? {} : { maxRate: parseRate(maxRate) }),
  };
}

/** What is stored and how, whatever it comes from. */
async function storedSettings({
  args,
}: CommandInput): Promise<
  Pick<BackupRequest, 'tables' | 'excludeTables' | 'compression' | 'label' | 'secrets' | 'sealTo' | 'dryRun'>
> {
  const { parseCompression } = await import('../../config.ts');
  const secrets = args.text('secrets') as SecretsMode | undefined;
  const sealTo = args.list('seal-to');
  const tables = args.list('tables');
  const excludeTables = args.list('exclude-tables');
  const label = args.text('label');
  return {
    ...(secrets === undefined ? {} : { secrets }),
    ...(sealTo === undefined ? {} : { sealTo }),
    compression: parseCompression(args.text('compression') ?? 'gzip:1'),
    dryRun: args.switch('dry-run'),
    ...(tables === undefined ? {} : { tables }),
    ...(excludeTables === undefined ? {} : { excludeTables }),
    ...(label === undefined ? {} : { label }),
  };
}

function backupText(result: BackupResult | RestBackupResult, style: Style): string {
  const { manifest } = result;
  const debris =
    result.debris.length === 0
      ? ''
      : `\n${wrap(`Seen in the storage: ${counted(result.debris.length, 'incomplete backup')} (${names(result.debris)}); lifeboat prune removes those older than a day.`, style.width)}`;
  if (manifest === undefined) return `${style.dim('Dry run: nothing was stored.')}${debris}`;
  const { totals } = manifest;
  const rate =
    'requests' in result
      ? `, with ${counted(result.requests, 'request')} and ${bytes(result.receivedBytes)} received`
      : result.maxRate === null
        ? ''
        : `, at most ${bytes(result.maxRate)} a second`;
  // The worst case is a warning, which was told already.
  const secrets =
    result.secrets.recoverableWith === 'none'
      ? ''
      : `\n${labelled(style.bold, 'Secrets:', result.secrets.says, style)}`;
  return `${style.green('Backed up')} ${manifest.source.environment} as ${style.bold(result.backupId)}: ${counted(totals.rows, 'row')} of ${counted(totals.tables, 'table')}, ${bytes(totals.bytes)}, in ${duration(manifest.durationSeconds)}${rate}.${debris}${secrets}
${style.bold('Next:')} lifeboat verify ${result.backupId}`;
}
