import type { DatabaseTarget } from '../../db/target.ts';
import { isLifeboatError } from '../../errors.ts';
import type { EngineContext } from '../api.ts';
import type { Manifest } from '../manifest.ts';
import { checkParts } from '../verify-parts.ts';
import { tidyShadow } from './debris.ts';

interface Failure {
  readonly schema: string;
  readonly manifest: Manifest;
  readonly error: unknown;
}

/**
 * A restore that failed leaves no schema behind, if the server can be reached; else the next one removes it. A row that
 * the server refused may come from a part that is not what it was: the server meets it before the end of the part, where
 * its hash is known. Then that is what has to be said.
 *
 * @throws LifeboatError 'integrity' if a part differs, else the error that was given
 */
export async function explainFailure(
  ctx: EngineContext,
  environment: DatabaseTarget,
  { schema, manifest, error }: Failure,
): Promise<never> {
  await tidyShadow(ctx, environment, schema);
  const sqlstate = isLifeboatError(error) ? error.details.sqlstate : undefined;
  // data exceptions, violated constraints
  if (typeof sqlstate === 'string' && /^2[23]/.test(sqlstate)) {
    await checkParts(ctx, manifest, { countRows: false });
  }
  throw error;
}
