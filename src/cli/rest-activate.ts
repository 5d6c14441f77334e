import { LifeboatError } from '../errors.ts';
import type { CommandInput, Outcome } from './command.ts';
import { withEngine } from './context.ts';
import { withRest } from './rest.ts';
import { restActivateText } from './text/activate.ts';

/** `lifeboat activate` of an environment of which the REST API is all that is reached. */
export async function activateRest(input: CommandInput): Promise<Outcome> {
  const { args } = input;
  if (args.given('schema')) {
    throw new LifeboatError('usage', '--schema is for an activation in a database.', {
      next: 'Leave it out.',
    });
  }
  const dryRun = args.switch('dry-run');
  const dags = args.text('dags');
  const { activateThroughRest } = await import('../engine/rest-restore/activate.ts');
  const [name, result] = await withRest(input, (client) =>
    withEngine(input, async (ctx) => {
      const request = { client, backup: args.backup, dryRun, ...(dags === undefined ? {} : { dags }) };
      const catchup = args.text('catchup') === 'start' ? 'start' : 'hold';
      return [client.name, await activateThroughRest(ctx, { ...request, catchup })] as const;
    }),
  );
  return {
    ending: result.refused.length > 0 ? 'difference' : 'done',
    result: { ...result, dryRun },
    text: (style) => restActivateText(result, name, dryRun, style),
  };
}
