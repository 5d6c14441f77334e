import type { BackupRequest, BackupResult } from '../../engine/api.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { carryingTask, openEnvironment, withEngine } from '../context.ts';
import { DRY_RUN } from '../flags.ts';
import type { Style } from '../text/style.ts';
import { names, wrap } from '../text/table.ts';
import { bytes, counted, duration } from '../text/units.ts';

const GROUP = 'Backup:';

export const backupCommand: Command = {
  name: 'backup',
  summary: 'Back up the metadata database as it is at one moment',
  details:
    'Reads the metadata database in one snapshot and stores every table that carries state. The backup exists when its manifest is written, last; a run that fails or is killed leaves none. The source is only read.',
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
    { name: 'label', kind: 'text', group: GROUP, describe: 'A note for list and show' },
    DRY_RUN,
  ],
  examples: [
    ['$0 backup --airflow postgresql://airflow@db/airflow --storage s3://dr-bucket/airflow', 'To S3'],
    ['$0 backup --storage ./backups --label "before upgrade"', 'Environment from LIFEBOAT_AIRFLOW'],
    ['$0 backup --storage ./backups --exclude-tables log --dry-run', 'What would be stored'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const request = await backupRequest(input);
  const { backup } = await import('../../engine/backup.ts');
  const result = await withEngine(input, (ctx) => backup(ctx, request));
  return { ending: 'done', result: { ...result }, text: (style) => backupText(result, style) };
}

async function backupRequest(input: CommandInput): Promise<BackupRequest> {
  const { args } = input;
  const { parseCompression } = await import('../../config.ts');
  const { environment, fernetKeys } = await openEnvironment(input);
  const tables = args.list('tables');
  const excludeTables = args.list('exclude-tables');
  const label = args.text('label');
  return {
    environment,
    fernetKeys,
    jobs: args.count('jobs') ?? 2,
    compression: parseCompression(args.text('compression') ?? 'gzip:1'),
    dryRun: args.switch('dry-run'),
    ...carryingTask(input),
    ...(tables === undefined ? {} : { tables }),
    ...(excludeTables === undefined ? {} : { excludeTables }),
    ...(label === undefined ? {} : { label }),
  };
}

function backupText(result: BackupResult, style: Style): string {
  const { manifest } = result;
  const debris =
    result.debris.length === 0
      ? ''
      : `\n${wrap(`Seen in the storage: ${counted(result.debris.length, 'incomplete backup')} (${names(result.debris)}); lifeboat prune removes those older than a day.`, style.width)}`;
  if (manifest === undefined) return `${style.dim('Dry run: nothing was stored.')}${debris}`;
  const { totals } = manifest;
  return `${style.green('Backed up')} ${manifest.source.environment} as ${style.bold(result.backupId)}: ${counted(totals.rows, 'row')} of ${counted(totals.tables, 'table')}, ${bytes(totals.bytes)}, in ${duration(manifest.durationSeconds)}.${debris}
${style.bold('Next:')} lifeboat verify ${result.backupId}`;
}
