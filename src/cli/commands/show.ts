import type { Command, CommandInput, Outcome } from '../command.ts';
import { withEngine } from '../context.ts';

export const showCommand: Command = {
  name: 'show',
  summary: 'Show one backup: source, tables, and what was left out and why',
  takesBackup: true,
  uses: ['storage'],
  flags: [],
  examples: [
    ['$0 show latest --storage ./backups', 'The newest backup'],
    [
      '$0 show 20261121T01 --storage s3://dr-bucket/airflow --json',
      'By a unique prefix, with the whole manifest',
    ],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const { resolveBackup } = await import('../../engine/catalog.ts');
  const { backupId, manifest } = await withEngine(input, (ctx) => resolveBackup(ctx, input.args.backup));
  const { manifestText } = await import('../text/manifest.ts');
  return { ending: 'done', result: { backupId, manifest }, text: (style) => manifestText(manifest, style) };
}
