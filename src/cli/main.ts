#!/usr/bin/env node
import { hostname } from 'node:os';
import { LifeboatError } from '../errors.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { redact } from '../secrets/redact.ts';
import { carriesPassword } from './redact.ts';
import { TOOL } from '../engine/tool.ts';
import { tokensOf } from './task-token.ts';

/** A healthy end takes milliseconds; a socket that nobody closed would keep the process for hours. */
const EXIT_PATIENCE_MS = 10_000;

// The AWS SDK prints a paragraph about next year's Node versions into every log of a backup job.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

const argv = process.argv.slice(2);
// Overwrites the memory that ps reads, so that a password typed on the command line is shown only for an instant.
const tokens = tokensOf({ argv, env: {} });
if (tokens.length > 0 || argv.some(carriesPassword)) {
  process.title = redact(['lifeboat', ...argv].join(' '), tokens);
}

const controller = new AbortController();
function stop(signal: NodeJS.Signals): void {
  if (controller.signal.aborted) process.exit(EXIT_CODES.interrupted);
  controller.abort(
    new LifeboatError('interrupted', `Interrupted by ${signal}: what was under way was rolled back.`, {
      next: 'Run the same command again; nothing needs to be cleaned up before.',
    }),
  );
}
process.on('SIGINT', stop);
process.on('SIGTERM', stop);
// Who started the command keeps the other end of stdin open: killed, it cannot send a signal, and its restore would go
// on with nobody to answer for it.
const watched = (process.env.LIFEBOAT_WATCH_STDIN ?? '') !== '';
const onStdinEnd = (): void => {
  stop('SIGTERM');
};
if (watched) process.stdin.on('end', onStdinEnd).on('error', onStdinEnd).resume();

const fatal = new Promise<never>((_resolve, reject) => {
  process.on('uncaughtException', (error) => {
    reject(error);
    // What else is under way must not outlive the failure.
    controller.abort(error);
  });
});
// It is raced, not awaited: a late failure after the end is no unhandled rejection.
fatal.catch(() => undefined);

// Should the work ever stop without an end, Node would leave with its own 13, which here means "unsupported".
process.exitCode = EXIT_CODES.failed;
process.exitCode = await work();

process.off('SIGINT', stop);
process.off('SIGTERM', stop);
if (watched) process.stdin.off('end', onStdinEnd).destroy();
setTimeout(() => {
  const open = process.getActiveResourcesInfo().filter((name) => name !== 'Timeout');
  process.stderr.write(`warning: still open at the end, ending anyway: ${open.join(', ')}\n`);
  process.exit();
}, EXIT_PATIENCE_MS).unref();

/** Scripts ask for the version, and every run of a DAG does: the parser takes longer to load than the answer to give. */
async function work(): Promise<number> {
  if (argv.length === 1 && argv[0] === '--version') {
    process.stdout.write(`${TOOL.version}\n`);
    return EXIT_CODES.done;
  }
  const { run } = await import('./run.ts');
  return run({
    argv,
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    now: () => new Date(),
    origin: `pid ${String(process.pid)} on ${hostname()}`,
    signal: controller.signal,
    fatal,
  });
}
