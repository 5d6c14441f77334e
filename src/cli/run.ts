import { TOOL } from '../engine/tool.ts';
import { isLifeboatError, LifeboatError, toError } from '../errors.ts';
import { COMMANDS } from './commands/index.ts';
import type { Outcome } from './command.ts';
import { EXIT_CODES } from './exit-codes.ts';
import type { Host } from './host.ts';
import { createOutput } from './output.ts';
import type { Output } from './output.ts';
import { parseCommandLine } from './parse.ts';
import type { Attempt, Request } from './parse.ts';
import { redact } from '../secrets/redact.ts';
import { carriesPassword } from './redact.ts';
import { createJsonReporter } from './reporters/json.ts';
import type { End, Reporter } from './reporters/reporter.ts';
import { createTextReporter } from './reporters/text.ts';
import { helpWidth } from './text/style.ts';

/** Runs one command line to its end and returns the exit code; everything written has left the process by then. */
export async function run(host: Host): Promise<number> {
  const json = asksForJson(host.argv);
  const out = createOutput(host.stdout, json ? undefined : redact);
  const err = createOutput(host.stderr, redact);
  const exitCode = await runCommandLine(host, json, out, err);
  await Promise.all([out.flush(), err.flush()]);
  return exitCode;
}

/** Known before the command line is parsed, because a usage error is told as JSON too. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const words = end === -1 ? argv : argv.slice(0, end);
  return words.some((word) => word === '--json' || word === '--json=true');
}

async function runCommandLine(host: Host, json: boolean, out: Output, err: Output): Promise<number> {
  const attempt: Attempt = { command: null };
  const reporter = json
    ? createJsonReporter(host, out, err)
    : // A backup deletes nothing: its long plan is shown when --dry-run makes it all that happens.
      createTextReporter(host, out, err, (plan) => plan.kind !== 'backup' || host.argv.includes('--dry-run'));
  let request: Request;
  try {
    request = parseCommandLine(
      host.argv,
      { commands: COMMANDS, version: TOOL.version, width: helpWidth(host.stdout) },
      attempt,
    );
  } catch (thrown) {
    return finish(reporter, host, attempt.command, { error: asLifeboatError(thrown, host.signal), thrown });
  }
  if (request.kind === 'text') {
    (request.ending === 'done' ? out : err).write(request.text);
    return EXIT_CODES[request.ending];
  }
  const { command, args } = request;
  if (host.argv.some(carriesPassword)) reporter.report(PASSWORD_IN_ARGV);
  const stop = (): void => {
    if (!isLifeboatError(host.signal.reason, 'interrupted')) return;
    reporter.clear();
    err.write('Stopping and rolling back; once more ends it at once.\n');
  };
  host.signal.addEventListener('abort', stop, { once: true });
  const input = { args, host, report: reporter.report, say: reporter.say, signal: host.signal };
  try {
    const outcome = await Promise.race([command.run(input), host.fatal]);
    return finish(reporter, host, command.name, { outcome });
  } catch (thrown) {
    return finish(reporter, host, command.name, { error: asLifeboatError(thrown, host.signal), thrown });
  } finally {
    host.signal.removeEventListener('abort', stop);
  }
}

const PASSWORD_IN_ARGV = {
  event: 'warning',
  code: 'password-in-argv',
  message: 'A password stands on the command line, where ps showed it to every user of this machine.',
  next: 'Put it into PGPASSWORD, a ~/.pgpass file or LIFEBOAT_AIRFLOW.',
} as const;

interface Finish {
  readonly outcome?: Outcome;
  readonly error?: LifeboatError;
  readonly thrown?: unknown;
}

function finish(
  reporter: Reporter,
  host: Host,
  command: string | null,
  { outcome, error, thrown }: Finish,
): number {
  const failure = error ?? outcome?.error;
  const exitCode = EXIT_CODES[failure?.kind ?? outcome?.ending ?? 'failed'];
  const stack = thrown !== undefined && host.argv.includes('--debug') ? stackOf(toError(thrown)) : undefined;
  const end: End = {
    command,
    exitCode,
    ...(outcome === undefined ? {} : { outcome }),
    ...(failure === undefined ? {} : { error: failure }),
    ...(stack === undefined ? {} : { stack }),
  };
  reporter.finish(end);
  return exitCode;
}

/**
 * After a signal every failure is its consequence (a cancelled statement, an aborted upload, a closed socket), so
 * the ending is "interrupted" whatever was thrown.
 */
function asLifeboatError(thrown: unknown, signal: AbortSignal): LifeboatError {
  if (isLifeboatError(thrown, 'interrupted')) return thrown;
  if (isLifeboatError(signal.reason, 'interrupted')) return signal.reason;
  if (isLifeboatError(thrown)) return thrown;
  const message = toError(thrown).message.replace(/\s+/g, ' ').trim();
  return new LifeboatError('failed', message === '' ? 'Failed without a message.' : message, {
    next: 'Run it again with --debug for the stack trace, and report it if it is not your configuration.',
    cause: thrown,
  });
}

/** The stack with those of its causes: the place that failed is usually the innermost. */
function stackOf(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\nCaused by: ${stackOf(toError(error.cause))}`;
}
