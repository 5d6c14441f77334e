import type { RestCleanupRequest } from '../engine/rest-cleanup/api.ts';
import { LifeboatError } from '../errors.ts';
import type { CommandInput, Outcome } from './command.ts';
import { confirm } from './confirm.ts';
import { liveRequest, withEngineIfStored } from './context.ts';
import { withRest } from './rest.ts';
import { counted } from './text/units.ts';

/** `lifeboat cleanup` of an environment of which the REST API is all that is reached. */
export async function cleanRest(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  if (args.given('schema')) {
    throw new LifeboatError('usage', '--schema is for cleanups of a database.', {
      next: 'Leave it out: docs/rest.md says what the REST API lets be deleted.',
    });
  }
  const { cleanupThroughRest } = await import('../engine/rest-cleanup/cleanup.ts');
  const result = await withRest(input, (client, via) =>
    withEngineIfStored(input, (ctx, hasStorage) =>
      cleanupThroughRest(ctx, {
        client,
        via,
        ...liveRequest(input),
        catchup: args.text('catchup') === 'start' ? 'start' : 'hold',
        lock: hasStorage,
        dryRun: args.switch('dry-run'),
        confirm: confirmation(input),
      }),
    ),
  );
  const { restCleanupText } = await import('./text/rest-cleanup.ts');
  const { refused = [], begunAgainRuns = 0 } = result.cleaned ?? {};
  const unreached = result.plan.leftOut.some(({ rows }) => rows !== undefined);
  const incomplete = refused.length > 0 || begunAgainRuns > 0 || (result.cleaned !== undefined && unreached);
  return {
    ending: incomplete ? 'difference' : 'done',
    result: { ...result },
    text: (style) => restCleanupText(result, style),
  };
}

function confirmation(input: CommandInput): RestCleanupRequest['confirm'] {
  return (plan) => {
    const queued = plan.queuedEvents === 0 ? '' : ` and ${counted(plan.queuedEvents, 'queued event')}`;
    return confirm(input, {
      warning: `This deletes ${counted(plan.deletes, 'run')} with all that hangs on them${queued} from ${plan.target.name}.`,
      phraseIs: 'the name of the environment',
      phrase: plan.target.name,
    });
  };
}
