import { RestError } from '../../src/rest/errors.ts';

/** The RestError that the work ends with; anything else is a failed test. */
export async function restErrorOf(work: Promise<unknown>): Promise<RestError> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown instanceof RestError) return thrown;
  throw new Error(`no RestError: ${String(thrown)}`);
}
