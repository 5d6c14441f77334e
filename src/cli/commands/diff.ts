import type { DiffRequest, DiffResult } from '../../engine/api.ts';
import { LifeboatError } from '../../errors.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { openEnvironment, withEngine } from '../context.ts';
import { IDENTITY_FILE } from '../flags.ts';
import { identitiesOf } from '../identities.ts';
import { namesRest, withRest } from '../rest.ts';

export const diffCommand: Command = {
  name: 'diff',
  summary: 'Compare a backup with an environment or another backup: what was lost, added, changed',
  details:
    'Compares BACKUP with OTHER, or with the database or the REST API of --airflow (else LIFEBOAT_AIRFLOW): per table the rows that are missing on the other side, added there, or changed, with examples. Rows are matched by name (a run by dag_id and run_id), not by ids, which a restore may move; secrets are compared by what they hold, read with LIFEBOAT_FERNET_KEY and LIFEBOAT_SOURCE_FERNET_KEY. An API is read as for a backup, which takes as long. Both sides are only read. Ends with 3 when a difference was found.',
  takesBackup: true,
  takesOther: true,
  uses: ['environment', 'storage'],
  flags: [
    { name: 'tables', kind: 'list', group: 'Diff:', describe: 'Only these tables; else all that both have' },
    IDENTITY_FILE,
  ],
  examples: [
    [
      '$0 diff latest --storage ./backups --airflow postgresql://airflow@db/airflow',
      'What has the database lost since the backup?',
    ],
    [
      '$0 diff latest --airflow https://airflow.example.com',
      'What the REST API shows now, without a database',
    ],
    ['$0 diff 20261120T01 latest --storage ./backups', 'What happened between two backups?'],
    ['$0 diff latest --tables variable,connection --json', 'Settings alone, for programs'],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const settings = await diffSettings(input);
  const { diff } = await import('../../engine/diff/diff.ts');
  const against = (other: DiffRequest['other']): Promise<DiffResult> =>
    withEngine(input, (ctx) => diff(ctx, { ...settings, other }));
  const result =
    input.args.other === undefined && (await namesRest(input))
      ? await withRest(input, (client, via) => against({ client, via }))
      : await against(await otherSide(input));
  const { diffText } = await import('../text/diff.ts');
  return {
    ending: result.different ? 'difference' : 'done',
    result: { ...result },
    text: (style) => diffText(result, style),
  };
}

async function diffSettings(input: CommandInput): Promise<Omit<DiffRequest, 'other'>> {
  const { args, host } = input;
  const { resolveFernetKeys, resolveSourceFernetKeys } = await import('../../config.ts');
  const tables = args.list('tables');
  return {
    backup: args.backup,
    fernetKeys: [...resolveFernetKeys(host.env), ...resolveSourceFernetKeys(host.env)],
    ...(tables === undefined ? {} : { tables }),
    ...(await identitiesOf(input)),
  };
}

/** A backup that is named wins over a database that happens to be configured; two that are named are a mistake. */
async function otherSide(input: CommandInput): Promise<DiffRequest['other']> {
  const { args } = input;
  if (args.other === undefined) return { environment: (await openEnvironment(input)).environment };
  if (args.text('airflow') !== undefined) {
    throw new LifeboatError(
      'usage',
      'diff compares with another backup or with --airflow, and both are given.',
      {
        next: 'Leave one of them out.',
      },
    );
  }
  if (args.other.trim() === '' || args.other.includes('://')) {
    throw new LifeboatError('usage', 'The second word of diff is not the name of a backup.', {
      next: 'Give an id, a unique prefix or latest, or name a database with --airflow.',
    });
  }
  return { backup: args.other };
}
