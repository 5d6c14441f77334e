import { createInterface } from 'node:readline';
import { LifeboatError } from '../errors.ts';
import type { CommandInput } from './command.ts';

export interface Question {
  /** What is about to happen, as one sentence. */
  readonly warning: string;
  /** What the phrase is, such as "the name of the database". */
  readonly phraseIs: string;
  /** What has to be typed, to the letter. */
  readonly phrase: string;
}

/**
 * Resolves to true when --yes was given or a person typed the phrase. A typed name, unlike a y, cannot be given by
 * habit to the wrong database. Where nobody can answer, it refuses (14); --json is read by programs and never asks.
 */
export async function confirm(input: CommandInput, question: Question): Promise<boolean> {
  const { args, host } = input;
  if (args.switch('yes')) return true;
  if (args.switch('json') || host.stdin.isTTY !== true || host.stderr.isTTY !== true) {
    throw new LifeboatError(
      'refused',
      `${question.warning} Nobody confirmed it, and there is no terminal to ask.`,
      {
        next: 'Look at the plan with --dry-run, then run it with --yes.',
        details: { code: 'not-confirmed' },
      },
    );
  }
  const answer = await ask(
    input,
    `${question.warning}\nType ${question.phraseIs}, ${question.phrase}, to go on; anything else stops: `,
  );
  if (answer?.trim() === question.phrase) return true;
  throw new LifeboatError('refused', 'Not confirmed: nothing was changed.', {
    next: `Type ${question.phrase} to the letter, or run it with --yes.`,
    details: { code: 'not-confirmed' },
  });
}

/** The line that was typed; undefined at the end of input. Rejects when the signal aborts. */
function ask(input: CommandInput, prompt: string): Promise<string | undefined> {
  const { host, signal } = input;
  return new Promise((resolve, reject) => {
    // terminal: false leaves Ctrl-C to the kernel, which sends SIGINT as everywhere else.
    const lines = createInterface({ input: host.stdin, terminal: false });
    const stop = (): void => {
      // First: closing emits 'close' at once, which would settle the promise as the end of input.
      reject(new LifeboatError('interrupted', 'Interrupted at the question: nothing was changed.'));
      lines.close();
    };
    signal.addEventListener('abort', stop, { once: true });
    lines.once('line', (line) => {
      resolve(line);
      lines.close();
    });
    lines.once('close', () => {
      signal.removeEventListener('abort', stop);
      resolve(undefined);
    });
    host.stderr.write(prompt);
    if (signal.aborted) stop();
  });
}
