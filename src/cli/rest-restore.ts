import type { InFlightPolicy, MergeStrategy, PauseState } from '../engine/plans.ts';
import type { RestRestoreRequest } from '../engine/rest-restore/api.ts';
import { LifeboatError } from '../errors.ts';
import type { CommandInput, Outcome } from './command.ts';
import { confirm } from './confirm.ts';
import { withEngine } from './context.ts';
import { identitiesOf } from './identities.ts';
import { withRest } from './rest.ts';
import { counted } from './text/units.ts';

/** Of restores into a database. */
const OF_DATABASES = [
  'clean',
  'tables',
  'since',
  'encrypt-clear',
  'via',
  'jobs',
  'keep-run',
  'ignore-running',
  'schema',
] as const;

/** `lifeboat restore` into an environment of which the REST API is all that is reached. */
export async function restoreIntoRest(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  const stray = OF_DATABASES.filter((name) => args.given(name));
  if (stray.length > 0) {
    const cleans = stray.includes('clean');
    throw new LifeboatError('usage', `--${stray.join(' and --')} is for restores into a database.`, {
      next: cleans
        ? 'Leave it out, and run lifeboat cleanup first: through the REST API nothing is done in one step.'
        : 'Leave it out: docs/rest.md says what the REST API lets in.',
    });
  }
  const settings = await settingsOf(input);
  const { restoreThroughRest } = await import('../engine/rest-restore/restore.ts');
  const result = await withRest(input, (client, via) =>
    withEngine(input, (ctx) =>
      restoreThroughRest(ctx, { ...settings, client, via, confirm: confirmation(input) }),
    ),
  );
  const { restRestoreText } = await import('./text/rest-restore.ts');
  const { refused = [], runs } = result.restored ?? {};
  const incomplete = refused.length + (runs?.problems.length ?? 0) > 0;
  return {
    ending: incomplete ? 'difference' : 'done',
    result: { ...result },
    text: (style) => restRestoreText(result, style),
  };
}

async function settingsOf(
  input: CommandInput,
): Promise<Omit<RestRestoreRequest, 'client' | 'via' | 'confirm'>> {
  const { args, host } = input;
  const { resolveFernetKeys, resolveSourceFernetKeys } = await import('../config.ts');
  const lists = {
    dags: args.list('dags'),
    excludeDags: args.list('exclude-dags'),
    keepVariables: args.list('keep-variables'),
    keepConnections: args.list('keep-connections'),
  };
  const given = Object.fromEntries(Object.entries(lists).filter(([, list]) => list !== undefined));
  return {
    backup: args.backup,
    // readText let nothing through but the flag's choices.
    variables: args.text('variables') as MergeStrategy,
    connections: args.text('connections') as MergeStrategy,
    pauseState: args.text('pause-state') as PauseState,
    inFlight: args.text('in-flight') as InFlightPolicy,
    catchup: args.text('catchup') === 'start' ? 'start' : 'hold',
    ...given,
    ...(await identitiesOf(input)),
    unreadable: args.text('unreadable') === 'keep' ? 'keep' : 'refuse',
    // The target encrypts by itself: whichever reads the backup will do.
    fernetKeys: [...resolveSourceFernetKeys(host.env), ...resolveFernetKeys(host.env)],
    dryRun: args.switch('dry-run'),
  };
}

function confirmation(input: CommandInput): RestRestoreRequest['confirm'] {
  return (plan) => {
    const replaces = plan.settings.reduce((sum, one) => sum + one.replaces, 0);
    const replacing = replaces === 0 ? '' : `, replaces ${counted(replaces, 'setting')}`;
    const runs = plan.runs?.restores ?? 0;
    const making = runs === 0 ? '' : `, makes ${counted(runs, 'unfinished run')} again`;
    const unpauses = plan.dags?.unpause.length ?? 0;
    const starting = unpauses === 0 ? '' : `, lets ${counted(unpauses, 'DAG')} go`;
    return confirm(input, {
      warning: `This restores ${plan.backupId} into ${plan.target.name}${replacing}${making}${starting}.`,
      phraseIs: 'the name of the environment',
      phrase: plan.target.name,
    });
  };
}
