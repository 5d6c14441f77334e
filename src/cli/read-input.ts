import { LifeboatError, toError } from '../errors.ts';
import type { CommandInput } from './command.ts';

/** The text of the file that a flag names; - is stdin. */
export async function readInput(
  { host }: Pick<CommandInput, 'host'>,
  file: string,
  flag: string,
): Promise<string> {
  if (file === '-') {
    const { text } = await import('node:stream/consumers');
    return text(host.stdin);
  }
  const { readFile } = await import('node:fs/promises');
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw fileError(`${flag} cannot be read`, thrown);
  }
}

/** Without the path: it may be one that nobody shall know. */
export function fileError(what: string, thrown: unknown): LifeboatError {
  const { code } = toError(thrown) as NodeJS.ErrnoException;
  return new LifeboatError('failed', `${what}: ${code ?? 'failed'}.`, { cause: thrown });
}
