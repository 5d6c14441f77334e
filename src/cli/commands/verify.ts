import type { VerifyRequest, VerifyResult } from '../../engine/api.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { openEnvironment, withEngine } from '../context.ts';
import { IDENTITY_FILE } from '../flags.ts';
import { identitiesOf } from '../identities.ts';
import { namesRest, withRest } from '../rest.ts';
import type { Style } from '../text/style.ts';
import { table } from '../text/table.ts';
import { bytes, count, counted, duration } from '../text/units.ts';

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'Read a backup again: every part’s SHA-256, size and rows',
  details:
    'Reads every part of a backup and checks its SHA-256, size and rows against the manifest; sealed secrets are opened and counted with --identity-file. With --airflow (given on the command line; LIFEBOAT_AIRFLOW alone does not count) it also compares the row counts with that database, or with what that REST API counts, and ends with 3 when they differ.',
  takesBackup: true,
  uses: ['environment', 'storage'],
  flags: [IDENTITY_FILE],
  examples: [
    ['$0 verify latest --storage ./backups', 'The stored bytes'],
    [
      '$0 verify latest --storage ./backups --airflow postgresql://airflow@db/airflow',
      'And the rows of a database',
    ],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  // Only the flag: a database that happens to be configured must not change what a nightly verify means.
  const named = args.text('airflow') !== undefined;
  if (named && (await namesRest(input))) {
    return withRest(input, (client, via) => verifyWith(input, { client, via }, client.name));
  }
  const compared = named ? (await openEnvironment(input)).environment : undefined;
  return verifyWith(input, compared, compared?.name);
}

async function verifyWith(
  input: CommandInput,
  environment: VerifyRequest['environment'],
  name: string | undefined,
): Promise<Outcome> {
  const { verify } = await import('../../engine/verify.ts');
  const request = {
    backup: input.args.backup,
    ...(environment === undefined ? {} : { environment }),
    ...(await identitiesOf(input)),
  };
  const result = await withEngine(input, (ctx) => verify(ctx, request));
  return {
    ending: (result.differences?.length ?? 0) > 0 ? 'difference' : 'done',
    result: { ...result },
    text: (style) => verifyText(result, name, style),
  };
}

function sealedText({ sealed }: VerifyResult): string {
  if (sealed === undefined) return '';
  return sealed === 'opened'
    ? ' The sealed secrets open with the given identity.'
    : ' The sealed secrets were not opened: give --identity-file to prove that an identity fits.';
}

function verifyText(result: VerifyResult, compared: string | undefined, style: Style): string {
  const head = `${style.green('Verified')} ${result.backupId} in ${duration(result.seconds)}: ${counted(result.parts, 'part')}, ${counted(result.rows, 'row')}, ${bytes(result.bytes)}; every part is what was written.${sealedText(result)}`;
  if (compared === undefined || result.differences === undefined) return head;
  if (result.differences.length === 0) return `${head}\nThe row counts are those of ${compared}.`;
  const columns = [
    { title: 'Table' },
    { title: 'Backup', align: 'right' },
    { title: 'Now', align: 'right' },
  ] as const;
  const rows = result.differences.map((one) => [one.table, count(one.backup), count(one.database)]);
  const differ = `${style.yellow('Different')} from ${compared} in ${counted(rows.length, 'table')}:`;
  return `${head}\n\n${differ}\n${table(columns, rows, style)}`;
}
