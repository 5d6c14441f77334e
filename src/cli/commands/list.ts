import type { CatalogEntry } from '../../engine/api.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { withStorage } from '../context.ts';
import type { Style } from '../text/style.ts';
import { names, table, wrap } from '../text/table.ts';
import { age, bytes, count } from '../text/units.ts';

export const listCommand: Command = {
  name: 'list',
  summary: 'List the backups of a storage',
  details:
    'Lists the backups that have a manifest, newest first. A backup whose manifest cannot be read is listed with the reason; one without a manifest is not a backup.',
  uses: ['storage'],
  flags: [],
  examples: [
    ['$0 list --storage s3://dr-bucket/airflow', 'For people'],
    ['$0 list --storage ./backups --json', 'A line a backup, then a summary'],
  ],
  run,
};

/** One backup as JSON: enough to choose by, without the tables and parts of `show --json`. */
interface BackupLine {
  readonly backupId: string;
  readonly label?: string | null;
  readonly snapshotTime?: string;
  readonly environment?: string;
  readonly airflow?: string;
  readonly alembicHead?: string;
  /** Absent: the database itself. */
  readonly through?: 'rest';
  readonly tables?: number;
  readonly rows?: number;
  readonly parts?: number;
  readonly bytes?: number;
  readonly durationSeconds?: number;
  readonly problem?: string;
}

async function run(input: CommandInput): Promise<Outcome> {
  const { listBackups } = await import('../../engine/catalog.ts');
  return withStorage(input, async (storage) => {
    const { entries, incomplete } = await listBackups(storage, input.signal);
    const backups = entries.map(backupLine);
    return {
      ending: 'done',
      lines: backups.map((backup) => ({ event: 'backup', ...backup })),
      result: { storage: storage.location, backups, incomplete },
      text: (style) => listText(storage.location, backups, incomplete, style),
    };
  });
}

function backupLine({ backupId, manifest, problem }: CatalogEntry): BackupLine {
  if (manifest === undefined) return { backupId, problem: problem ?? 'its manifest cannot be read' };
  return {
    backupId,
    label: manifest.label,
    snapshotTime: manifest.snapshotTime,
    environment: manifest.source.environment,
    airflow: manifest.source.airflow,
    ...(manifest.source.kind === 'rest'
      ? { through: 'rest' as const }
      : { alembicHead: manifest.source.alembicHead }),
    ...manifest.totals,
    durationSeconds: manifest.durationSeconds,
  };
}

const COLUMNS = [
  { title: 'Backup' },
  { title: 'Age' },
  { title: 'Source' },
  { title: 'Airflow' },
  { title: 'Rows', align: 'right' },
  { title: 'Size', align: 'right' },
  { title: 'Label' },
] as const;

function listText(
  location: string,
  backups: readonly BackupLine[],
  incomplete: readonly string[],
  style: Style,
): string {
  const debris =
    incomplete.length === 0
      ? []
      : [wrap(`Without a manifest, under way or left by a killed run: ${names(incomplete)}.`, style.width)];
  if (backups.length === 0) {
    return [`There is no backup in ${location}.`, ...debris].join('\n');
  }
  const rows = backups.map((one) =>
    one.problem === undefined
      ? [
          one.backupId,
          age(new Date(one.snapshotTime ?? ''), style.now()),
          one.environment ?? '',
          one.airflow ?? '',
          count(one.rows ?? 0),
          bytes(one.bytes ?? 0),
          one.label ?? '',
        ]
      : [one.backupId, 'unreadable', '', '', '', '', one.problem],
  );
  return [table(COLUMNS, rows, style), ...debris].join('\n\n');
}
