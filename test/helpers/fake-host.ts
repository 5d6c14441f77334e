import { PassThrough, Writable } from 'node:stream';
import type { Host, OutputStream } from '../../src/cli/host.ts';

/** An output stream that keeps what was written to it. */
interface CapturedStream extends OutputStream {
  text(): string;
}

function capture(terminal?: { readonly columns: number }): CapturedStream {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString());
      done();
    },
  });
  return Object.assign(stream, {
    text: () => chunks.join(''),
    ...(terminal === undefined ? {} : { isTTY: true, columns: terminal.columns }),
  });
}

export interface FakeHost extends Host {
  readonly stdin: PassThrough & { isTTY?: boolean };
  readonly stdout: CapturedStream;
  readonly stderr: CapturedStream;
  readonly controller: AbortController;
}

/** A process of its own: streams in memory, no environment, and a clock that stands still unless one is given. */
export function fakeHost(
  argv: readonly string[],
  options: {
    readonly terminal?: { readonly columns: number };
    readonly env?: Host['env'];
    readonly now?: () => Date;
  } = {},
): FakeHost {
  const controller = new AbortController();
  const stdin: FakeHost['stdin'] = new PassThrough();
  if (options.terminal !== undefined) stdin.isTTY = true;
  return {
    argv,
    env: options.env ?? {},
    stdin,
    stdout: capture(options.terminal),
    stderr: capture(options.terminal),
    now: options.now ?? (() => new Date('2026-11-21T12:00:00Z')),
    origin: 'test pid 1',
    signal: controller.signal,
    fatal: new Promise<never>(() => undefined),
    controller,
  };
}
