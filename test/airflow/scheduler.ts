import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { labPath } from './lab.ts';
import type { LabHome } from './lab.ts';
import { isRunning } from './run.ts';

export interface SchedulerRun {
  /** False when the scheduler ended before it was told to. */
  readonly survived: boolean;
  readonly log: string;
}

/** Runs Airflow's scheduler in the environment until `done` answers true or the time is up, then ends it. */
export async function runScheduler(
  at: LabHome,
  limit: { readonly atLeastMs: number; readonly atMostMs: number },
  done: () => Promise<boolean>,
): Promise<SchedulerRun> {
  const logFile = join(at.home, 'scheduler-after-restore.log');
  const log = openSync(logFile, 'w');
  const scheduler = spawn(labPath(), ['run', '--home', at.home, 'scheduler', '--skip-serve-logs'], {
    stdio: ['ignore', log, log],
    // A session of its own: what the scheduler starts is found by it when all is to end.
    detached: true,
  });
  closeSync(log);
  try {
    const started = performance.now();
    const passed = (): number => performance.now() - started;
    while (isRunning(scheduler) && passed() < limit.atMostMs) {
      if (passed() >= limit.atLeastMs && (await done())) break;
      await sleep(1000);
    }
    const survived = isRunning(scheduler);
    await end(scheduler);
    return { survived, log: readFileSync(logFile, 'utf8') };
  } finally {
    killSession(scheduler.pid);
  }
}

/** SIGTERM, as an init system does it. A scheduler waits for its running tasks then; the caller kills the session. */
async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([exited, sleep(8000, undefined, { ref: false })]);
  if (isRunning(child)) child.kill('SIGKILL');
  await exited;
}

/** Kills every process of the session: DAG processors and executors are in process groups of their own. */
function killSession(session: number | undefined): void {
  if (session === undefined) return;
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      // After the command name in parentheses: state, parent, process group, session.
      const [, , , sessionId] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(sessionId) === session) process.kill(Number(entry), 'SIGKILL');
    } catch {
      // It ended between the listing and the look at it.
    }
  }
}

/**
 * The lines of each traceback in a log, except those of the lab's DAG file that is broken on purpose, and of a DAG
 * processor that was told to end while it wrote a line: its signal handler raises SystemExit.
 */
export function tracebacks(log: string): readonly string[] {
  return log
    .split(/(?=Traceback \(most recent call last\):)/)
    .slice(1)
    .map((block) => block.split('\n').slice(0, 25).join('\n'))
    .filter((block) => !block.includes('lab_broken.py') && !/^SystemExit: 0$/m.test(block));
}
