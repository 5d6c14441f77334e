import { TOOL } from '../engine/tool.ts';
import { resolveCarryingTask } from '../carrying-task.ts';
import { isLifeboatError, LifeboatError, toError } from '../errors.ts';
import { COMMANDS } from './commands/index.ts';
import type { Command, CommandInput, Outcome } from './command.ts';
import { EXIT_CODES } from './exit-codes.ts';
import type { Host } from './host.ts';
import { createOutput } from './output.ts';
import type { Output } from './output.ts';
import { parseCommandLine } from './parse.ts';
import type { Attempt, Request } from './parse.ts';
import { redact } from '../secrets/redact.ts';
import { carriesPassword } from './redact.ts';
import { createJsonReporter, summaryOf } from './reporters/json.ts';
import type { End, Reporter } from './reporters/reporter.ts';
import { createTextReporter } from './reporters/text.ts';
import type { StepFunctionsReport } from './step-functions.ts';
import { reportsToStepFunctions, resolveTaskToken, TASK_TOKEN_IN_ARGV, tokensOf } from './task-token.ts';
import { helpWidth } from './text/style.ts';

/** Runs one command line to its end and returns the exit code; everything written has left the process by then. */
export async function run(host: Host): Promise<number> {
  const json = asksForJson(host.argv);
  const hide = createMask(tokensOf(host));
  const out = createOutput(host.stdout, json ? undefined : hide.mask);
  const err = createOutput(host.stderr, hide.mask);
  const exitCode = await runCommandLine(host, json, out, err, hide);
  await Promise.all([out.flush(), err.flush()]);
  return exitCode;
}

interface Mask {
  readonly mask: (text: string) => string;
  /** One more secret, found later. */
  readonly add: (secret: string) => void;
}

function createMask(secrets: string[]): Mask {
  return { mask: (text) => redact(text, secrets), add: (secret) => secrets.push(secret) };
}

/** Known before the command line is parsed, because a usage error is told as JSON too. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const words = end === -1 ? argv : argv.slice(0, end);
  return words.some((word) => word === '--json' || word === '--json=true');
}

async function runCommandLine(
  host: Host,
  json: boolean,
  out: Output,
  err: Output,
  hide: Mask,
): Promise<number> {
  const attempt: Attempt = { command: null };
  const reporter = json
    ? createJsonReporter(host, out, err, hide.mask)
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
  const told: { stepFunctions?: StepFunctionsReport } = {};
  const asError = (thrown: unknown): LifeboatError => asLifeboatError(thrown, host.signal);
  try {
    const input = { args, host, report: reporter.report, say: reporter.say, signal: host.signal };
    const work = (signal: AbortSignal): Promise<Outcome> =>
      Promise.race([command.run({ ...input, signal }), host.fatal]);
    const token = reportsToStepFunctions(command) ? await resolveTaskToken(args, host.env) : undefined;
    if (token !== undefined) hide.add(token);
    const outcome =
      token === undefined
        ? await work(host.signal)
        : await runReporting(command, input, { token, told, asError }, work);
    return finish(reporter, host, command.name, { outcome, ...told });
  } catch (thrown) {
    return finish(reporter, host, command.name, { error: asError(thrown), thrown, ...told });
  } finally {
    host.signal.removeEventListener('abort', stop);
  }
}

const PASSWORD_IN_ARGV = {
  event: 'warning',
  code: 'password-in-argv',
  message: 'A password stands on the command line, where ps showed it to every user of this machine.',
  next: 'Put it into PGPASSWORD, a ~/.pgpass file or LIFEBOAT_AIRFLOW; of a REST API into LIFEBOAT_REST_PASSWORD.',
} as const;

interface Token {
  readonly token: string;
  readonly told: { stepFunctions?: StepFunctionsReport };
  readonly asError: (thrown: unknown) => LifeboatError;
}

/** Runs the command for a state machine that waits for its end. */
async function runReporting(
  command: Command,
  input: CommandInput,
  { token, told, asError }: Token,
  work: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome> {
  const { args, host, report, signal } = input;
  if (args.text('task-token') !== undefined) report(TASK_TOKEN_IN_ARGV);
  const { parseDuration, resolveStorageUrl } = await import('../config.ts');
  const heartbeatMs = parseDuration(args.text('heartbeat-every') ?? '', '--heartbeat-every');
  const storage = args.text('storage');
  const location = command.uses.includes('storage')
    ? resolveStorageUrl(storage === undefined ? {} : { storage }, host.env)
    : undefined;
  const { openWaitingTask } = await import('../aws/step-functions.ts');
  const { reporting } = await import('./step-functions.ts');
  const task = await openWaitingTask(token);
  try {
    const describe = (end: Pick<End, 'outcome' | 'error'>): Readonly<Record<string, unknown>> =>
      summaryOf(endOf(command.name, end));
    const onReported = (what: StepFunctionsReport): void => void (told.stepFunctions = what);
    const carriedBy = resolveCarryingTask(host.env);
    return await reporting(
      {
        task,
        command: command.name,
        heartbeatMs,
        signal,
        report,
        carriedBy,
        location,
        onReported,
        asError,
        describe,
      },
      work,
    );
  } finally {
    task.close();
  }
}

interface Finish {
  readonly outcome?: Outcome;
  readonly stepFunctions?: StepFunctionsReport;
  readonly error?: LifeboatError;
  readonly thrown?: unknown;
}

function finish(
  reporter: Reporter,
  host: Host,
  command: string | null,
  { thrown, ...ended }: Finish,
): number {
  const stack = thrown !== undefined && host.argv.includes('--debug') ? stackOf(toError(thrown)) : undefined;
  const end = endOf(command, { ...ended, ...(stack === undefined ? {} : { stack }) });
  reporter.finish(end);
  return end.exitCode;
}

function endOf(command: string | null, ended: Omit<End, 'command' | 'exitCode'>): End {
  const error = ended.error ?? ended.outcome?.error;
  const exitCode = EXIT_CODES[error?.kind ?? ended.outcome?.ending ?? 'failed'];
  return { ...ended, command, exitCode, ...(error === undefined ? {} : { error }) };
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
