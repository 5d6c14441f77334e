import type { Told, WaitingTask } from '../aws/step-functions.ts';
import type { CarryingTask } from '../engine/api.ts';
import { LifeboatError, toError } from '../errors.ts';
import type { Report } from '../engine/events.ts';
import type { Outcome } from './command.ts';

/** What became of the report; the DAG that started the command reports by itself when there is none. */
export type StepFunctionsReport = 'success' | 'failure' | 'closed' | 'unreachable';

export interface Reporting {
  readonly task: WaitingTask;
  readonly command: string;
  readonly heartbeatMs: number;
  readonly signal: AbortSignal;
  readonly report: Report;
  readonly carriedBy: CarryingTask | undefined;
  /** The storage, if the command has one. */
  readonly location: string | undefined;
  /** Called before the end. */
  readonly onReported: (what: StepFunctionsReport) => void;
  /** What was thrown, as the command will tell it. */
  readonly asError: (thrown: unknown) => LifeboatError;
  /** What the summary would say. */
  readonly describe: (end: { outcome?: Outcome; error?: LifeboatError }) => Readonly<Record<string, unknown>>;
}

/**
 * Runs the work of a command for a state machine that waits: a heartbeat before it begins and from a timer while it
 * lasts, and then its end, once. When nobody waits any more the work is stopped before its commit.
 */
export async function reporting(
  input: Reporting,
  work: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome> {
  const first = await input.task.heartbeat().catch((error: unknown) => {
    input.onReported('unreachable');
    throw error;
  });
  if (first !== 'told') {
    input.onReported('closed');
    throw new LifeboatError(
      'refused',
      `Step Functions does not wait for this task (${first.closed}): nothing was begun.`,
      {
        next: 'Start it again from the state machine, or without a task token.',
        details: { code: 'task-token-closed' },
      },
    );
  }
  const heart = beat(input);
  const signal = AbortSignal.any([input.signal, heart.closed]);
  let outcome: Outcome;
  try {
    outcome = await work(signal);
  } catch (thrown) {
    await heart.stop();
    if (!heart.closed.aborted) await tellFailure(input, thrown);
    // Whatever broke after that (a cancelled statement, a closed socket) is its consequence.
    throw heart.closed.aborted ? heart.closed.reason : thrown;
  }
  await heart.stop();
  await tellEnd(input, outcome);
  return outcome;
}

interface Heart {
  /** Aborted when nobody waits any more. */
  readonly closed: AbortSignal;
  /** Nothing is sent after it. */
  stop(): Promise<void>;
}

function beat({ task, heartbeatMs, report, onReported }: Reporting): Heart {
  const closed = new AbortController();
  const stopped = new AbortController();
  let sending: Promise<void> | undefined;
  let warned = false;
  const send = async (): Promise<void> => {
    try {
      const told = await task.heartbeat(stopped.signal);
      warned = false;
      if (told === 'told' || stopped.signal.aborted) return;
      onReported('closed');
      closed.abort(
        new LifeboatError(
          'interrupted',
          `Step Functions no longer waits for this task (${told.closed}): the work was stopped and rolled back.`,
          {
            next: 'Look why it stopped waiting: HeartbeatSeconds, TimeoutSeconds, or somebody ended the execution. Then start it again.',
            details: { code: 'task-token-closed' },
          },
        ),
      );
    } catch (error) {
      if (stopped.signal.aborted || warned) return;
      // The next one may get through, and the state has time for several.
      warned = true;
      report({ event: 'warning', code: 'heartbeat-failed', message: toError(error).message });
    }
  };
  const timer = setInterval(() => {
    sending ??= send().finally(() => (sending = undefined));
  }, heartbeatMs);
  return {
    closed: closed.signal,
    stop: async () => {
      clearInterval(timer);
      stopped.abort();
      await sending;
    },
  };
}

/** mwaa_dr's name for the failure of its restore and cleanup, which state machines may catch. */
const FAILURE: Readonly<Record<string, string>> = { backup: 'Backup Failure', drill: 'Drill Failure' };

async function tellEnd(input: Reporting, outcome: Outcome): Promise<void> {
  if (outcome.error !== undefined) {
    await tellFailure(input, outcome.error);
    return;
  }
  const { fitting } = await import('../aws/step-functions.ts');
  const output = fitting(input.describe({ outcome }), (lifeboat) =>
    JSON.stringify({
      ...taskFields(input, 'success'),
      status: 'Success',
      ...(input.location === undefined ? {} : { location: input.location }),
      lifeboat,
    }),
  );
  let told: Told;
  try {
    told = await input.task.success(output);
  } catch (error) {
    input.onReported('unreachable');
    throw doneButUntold(input.command, toError(error).message, error);
  }
  input.onReported(told === 'told' ? 'success' : 'closed');
  if (told !== 'told') {
    throw doneButUntold(input.command, `Step Functions had stopped waiting (${told.closed}).`);
  }
}

function doneButUntold(command: string, why: string, cause?: unknown): LifeboatError {
  return new LifeboatError(
    'failed',
    `The ${command} is done and committed; its state machine does not know: ${why}`,
    {
      next: `Do not repeat the ${command}: look at what it did, and let the state machine go on from the next state.`,
      details: { code: 'task-token-untold', committed: true },
      cause,
    },
  );
}

/** What failed is the error to tell; that nobody could be told of it is a warning. */
async function tellFailure(input: Reporting, thrown: unknown): Promise<void> {
  const error = input.asError(thrown);
  const { CAUSE_LIMIT, fitting } = await import('../aws/step-functions.ts');
  const cause = fitting(
    input.describe({ error }),
    (lifeboat) => JSON.stringify({ ...taskFields(input, 'failed'), status: 'Fail', lifeboat }),
    CAUSE_LIMIT,
  );
  try {
    const told = await input.task.failure(FAILURE[input.command] ?? 'Restore Failure', cause);
    input.onReported(told === 'told' ? 'failure' : 'closed');
  } catch (untold) {
    input.onReported('unreachable');
    const message = `The state machine was not told of this failure. ${toError(untold).message}`;
    input.report({ event: 'warning', code: 'failure-untold', message });
  }
}

function taskFields({ carriedBy, command }: Reporting, state: 'success' | 'failed'): object {
  return {
    dag: carriedBy?.dagId ?? null,
    dag_run: carriedBy?.runId ?? null,
    tasks: [`${carriedBy?.taskId ?? command} => ${state}`],
  };
}
