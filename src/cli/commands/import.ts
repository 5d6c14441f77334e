import type { ImportRequest, ImportResult } from '../../engine/api.ts';
import type { Storage } from '../../storage/storage.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { withEngine } from '../context.ts';
import { SEAL_TO } from '../flags.ts';
import { importText } from '../text/import.ts';

const GROUP = 'Import:';

export const importCommand: Command = {
  name: 'import',
  summary: 'Make a backup of mwaa_dr or of the Glue export one of ours',
  details:
    'Reads what another tool wrote and stores it as a normal backup. What its format destroyed is mended where the files allow it; everything lost, mended or doubtful is said and stands in the manifest. Clear secrets are encrypted with LIFEBOAT_FERNET_KEY, the key of the Airflow that they will be restored into, or sealed with --seal-to.',
  takesDirectory: true,
  uses: ['storage'],
  flags: [
    {
      name: 'from',
      kind: 'text',
      group: GROUP,
      choices: ['mwaa-dr', 'glue'],
      describe: 'The tool that wrote it',
    },
    {
      name: 'airflow-version',
      kind: 'text',
      group: GROUP,
      describe: 'Minor of the Airflow that was backed up, such as 2.8; mwaa_dr does not say it',
    },
    { name: 'label', kind: 'text', group: GROUP, describe: 'A note for list and show' },
    SEAL_TO,
  ],
  examples: [
    [
      '$0 import s3://old-dr-bucket/data --from mwaa-dr --airflow-version 2.8 --storage s3://dr-bucket/airflow',
      'What mwaa_dr keeps in its bucket',
    ],
    ['$0 import ./exports/prod/2026/11/20 --from glue --storage ./backups', 'One day of the Glue export'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const { args, host } = input;
  const format = args.text('from') as ImportRequest['format'] | undefined;
  if (format === undefined) {
    throw new LifeboatError('usage', 'import needs --from: nothing in the files says who wrote them.', {
      next: 'Give --from mwaa-dr or --from glue.',
    });
  }
  const { resolveFernetKeys, resolveSourceFernetKeys } = await import('../../config.ts');
  const { openStorage } = await import('../../storage/open.ts');
  const airflowVersion = args.text('airflow-version');
  const label = args.text('label');
  const sealTo = args.list('seal-to');
  const from = await openStorage(args.directory ?? '', { env: host.env });
  const result = await closing(from, () =>
    withEngine(input, async (ctx) => {
      const { importBackup } = await import('../../engine/import/import.ts');
      return importBackup(ctx, {
        from,
        format,
        compression: { codec: 'gzip', level: 1 },
        fernetKeys: resolveFernetKeys(host.env),
        sourceFernetKeys: resolveSourceFernetKeys(host.env),
        ...(airflowVersion === undefined ? {} : { airflowVersion }),
        ...(label === undefined ? {} : { label }),
        ...(sealTo === undefined ? {} : { sealTo }),
      });
    }),
  );
  return { ending: 'done', result: { ...result }, text: (style) => importText(result, style) };
}

async function closing(storage: Storage, work: () => Promise<ImportResult>): Promise<ImportResult> {
  try {
    return await work();
  } finally {
    await storage.close?.();
  }
}
