import type { Opener } from '../../secrets/seal.ts';
import type { EngineContext, RestoreRequest } from '../api.ts';
import type { Unsealing } from './read.ts';

/** Opens secrets for the target's first key, and counts those that became tokens. Undefined: nothing is sealed. */
export function unsealingFor(
  ctx: Pick<EngineContext, 'now'>,
  request: Pick<RestoreRequest, 'fernetKeys'>,
  opener: Opener | undefined,
): (Unsealing & { readonly opened: () => number }) | undefined {
  if (!opener) return undefined;
  let opened = 0;
  return {
    opener,
    // Without a key there are only secrets here that never become tokens: planUnsealing has refused all others.
    key: request.fernetKeys[0] ?? '',
    encrypt: 'all',
    now: ctx.now(),
    onToken: () => (opened += 1),
    opened: () => opened,
  };
}
