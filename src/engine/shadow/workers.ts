import type { Client } from 'pg';
import { quoteIdent } from '../../db/introspect.ts';
import type { DatabaseTarget } from '../../db/target.ts';
import { LifeboatError } from '../../errors.ts';
import type { EngineContext } from '../api.ts';
import { holdWorkerLock } from '../locks.ts';
import { withSession } from '../session.ts';

/** One transaction of the work on a shadow. */
export interface Job {
  readonly name: string;
  /** Names of jobs that must have ended before. */
  readonly after: readonly string[];
  /** What hangs on it, in bytes: of the jobs that may begin, the heaviest does. */
  readonly weight: number;
  run(client: Client): Promise<void>;
}

export interface WorkerOptions {
  readonly connections: number;
  /** Everything that is made belongs to this role. */
  readonly owner: string;
  /** Ends all of them; the engine's own signal is among its causes. */
  readonly signal: AbortSignal;
}

/** Nothing of a shadow has to outlive a crash: the swap's own commit flushes it all. */
const SETTINGS = "SET LOCAL synchronous_commit = off; SET LOCAL maintenance_work_mem = '256MB'";

/**
 * Runs jobs over several connections, each as soon as those before it have ended. The first failure ends all.
 *
 * @throws what the first failed job threw
 */
export async function runJobs(
  ctx: EngineContext,
  environment: DatabaseTarget,
  jobs: readonly Job[],
  options: WorkerOptions,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const queue = createQueue(jobs);
  let failure: { readonly error: unknown } | undefined;
  const work = (): Promise<void> =>
    withSession(
      ctx,
      environment,
      { purpose: 'restore worker', signal, begin: (_client, settings) => Promise.resolve(settings) },
      async (client, settings) => {
        for (let job = await queue.next(); job; job = await queue.next()) {
          signal.throwIfAborted();
          await runJob(client, job, settings, options);
          queue.done(job);
        }
      },
    ).catch((error: unknown) => {
      failure ??= { error };
      queue.close();
      stop.abort(new LifeboatError('interrupted', 'Another connection of this restore failed.'));
    });
  const count = Math.max(1, Math.min(options.connections, jobs.length));
  await Promise.all(Array.from({ length: count }, work));
  if (failure) throw failure.error;
}

async function runJob(
  client: Client,
  job: Job,
  settings: readonly string[],
  { connections, owner }: WorkerOptions,
): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE');
  // Two index builds at a time use two processors already.
  const parallel = `SET LOCAL max_parallel_maintenance_workers = ${connections > 1 ? 0 : 2}`;
  await client.query([...settings, SETTINGS, parallel, `SET LOCAL ROLE ${quoteIdent(owner)}`].join('; '));
  await holdWorkerLock(client);
  await job.run(client);
  await client.query('COMMIT');
}

interface Queue {
  /** The next job that may begin, when there is one; undefined when no more will come. */
  next(): Promise<Job | undefined>;
  done(job: Job): void;
  close(): void;
}

function createQueue(jobs: readonly Job[]): Queue {
  const waiting = new Map(jobs.map((job) => [job.name, job]));
  const unfinished = new Set(waiting.keys());
  let wake: (() => void)[] = [];
  const wakeAll = (): void => {
    const sleepers = wake;
    wake = [];
    for (const one of sleepers) one();
  };
  const ready = (): Job | undefined =>
    [...waiting.values()]
      .filter((job) => job.after.every((name) => !unfinished.has(name)))
      .reduce<Job | undefined>((best, job) => (best && best.weight >= job.weight ? best : job), undefined);
  return {
    next: async () => {
      for (;;) {
        if (waiting.size === 0) return undefined;
        const job = ready();
        if (job) {
          waiting.delete(job.name);
          return job;
        }
        await new Promise<void>((resolve) => wake.push(resolve));
      }
    },
    done: (job) => {
      unfinished.delete(job.name);
      wakeAll();
    },
    close: () => {
      waiting.clear();
      wakeAll();
    },
  };
}
