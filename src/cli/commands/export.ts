import type { ExportFormat, ExportRequest } from '../../engine/api.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { withEngine } from '../context.ts';
import { IDENTITY_FILE } from '../flags.ts';
import { identitiesOf } from '../identities.ts';

const GROUP = 'Export:';

export const exportCommand: Command = {
  name: 'export',
  summary: 'Write variables, connections and pools as Airflow’s own files, or any table as CSV',
  details:
    'Writes variables.json, connections.json and pools.json for airflow variables, connections and pools import (of YAML, Airflow imports only connections), or a CSV file a table. Without --with-secrets nothing secret is written: JSON and YAML lack every variable and each connection with a password or an extra, CSV lacks the secret columns. With it they are in clear, read with LIFEBOAT_FERNET_KEY and LIFEBOAT_SOURCE_FERNET_KEY. What no key reads is left out and named, and the command ends with 3, or with 14 and no file when no key reads anything. Existing files are never replaced.',
  takesBackup: true,
  uses: ['storage'],
  flags: [
    {
      name: 'to',
      kind: 'text',
      group: GROUP,
      describe: 'Directory for the files (mode 0600); made (0700) when it is missing',
    },
    {
      name: 'format',
      kind: 'text',
      group: GROUP,
      choices: ['json', 'yaml', 'csv'],
      fallback: 'json',
      describe:
        'Airflow’s own files, or CSV with a line of names: NULL is an empty field, an empty text is ""',
    },
    {
      name: 'tables',
      kind: 'list',
      group: GROUP,
      describe: 'Only these tables; else variable, connection and slot_pool, or with csv all of the backup',
    },
    {
      name: 'with-secrets',
      kind: 'switch',
      group: GROUP,
      describe: 'Write secrets too, in clear',
    },
    IDENTITY_FILE,
  ],
  examples: [
    [
      '$0 export latest --to ./settings --with-secrets',
      'For airflow variables, connections and pools import',
    ],
    ['$0 export latest --to ./tables --format csv', 'Every table, without secrets'],
    ['$0 export latest --to ./runs --format csv --tables dag_run,task_instance', 'Two of them'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const request = await exportRequest(input);
  const { exportBackup } = await import('../../engine/export/export.ts');
  const result = await withEngine(input, (ctx) => exportBackup(ctx, request));
  const { exportText } = await import('../text/export.ts');
  return {
    ending: result.unreadableSecrets.length > 0 ? 'difference' : 'done',
    result: { ...result },
    text: (style) => exportText(result, style),
  };
}

async function exportRequest(input: CommandInput): Promise<ExportRequest> {
  const { args, host } = input;
  const to = args.text('to');
  if (to === undefined) {
    throw new LifeboatError('usage', 'export needs a directory for its files.', { next: 'Give --to DIR.' });
  }
  const withSecrets = args.switch('with-secrets');
  const { resolveFernetKeys, resolveSourceFernetKeys } = await import('../../config.ts');
  const tables = args.list('tables');
  return {
    backup: args.backup,
    to,
    // readText let nothing through but the flag's choices.
    format: args.text('format') as ExportFormat,
    ...(tables === undefined ? {} : { tables }),
    withSecrets,
    ...(withSecrets ? await identitiesOf(input) : {}),
    // Not even looked at without need: a key that is none must not stop an export of pools.
    fernetKeys: withSecrets ? [...resolveFernetKeys(host.env), ...resolveSourceFernetKeys(host.env)] : [],
  };
}
