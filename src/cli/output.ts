import type { OutputStream } from './host.ts';

export interface Output {
  write(text: string): void;
  /** Resolves when everything written so far has left the process, or nobody reads any more. */
  flush(): Promise<void>;
}

/**
 * A reader that goes away (`| head`, a closed terminal) is no error of the command: what is still to be written is
 * dropped, and a backup under way goes on. Without the listener Node ends the process with a stack trace.
 */
export function createOutput(
  stream: OutputStream,
  filter: (text: string) => string = (text) => text,
): Output {
  let gone = false;
  let pending = 0;
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    for (const resolve of waiting) resolve();
    waiting = [];
  };
  stream.on('error', () => {
    gone = true;
    wake();
  });
  return {
    write(text) {
      if (gone) return;
      pending += 1;
      stream.write(filter(text), () => {
        pending -= 1;
        if (pending === 0) wake();
      });
    },
    flush() {
      if (gone || pending === 0) return Promise.resolve();
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}
