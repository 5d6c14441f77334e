import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { labPath } from './lab.ts';
import type { LabHome } from './lab.ts';
import { isRunning } from './run.ts';

/** Airflow processes that were started and have not been killed, so that nothing outlives the tests. */
const started = new Set<ChildProcess>();

/** Starts one `airflow` command in the environment; its output goes to HOME/live-NAME.log. */
function startComponent(at: LabHome, name: string, args: readonly string[]): ChildProcess {
  const log = openSync(join(at.home, `live-${name}.log`), 'a');
  // A session of its own: what it starts makes groups of its own, and is found by the session.
  const child = spawn(labPath(), ['run', '--home', at.home, ...args], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  started.add(child);
  return child;
}

export interface Components {
  /** Fails when a component has ended by itself. */
  mustRun(): void;
  /** One more command beside them, killed with them. */
  add(name: string, ...args: readonly string[]): void;
  /** SIGKILL to all of them and all that they started, as when the machine goes away. */
  kill(): Promise<void>;
}

/** Runs scheduler (with LocalExecutor) and triggerer; of Airflow 3 also DAG processor and API server, which tasks need. */
export function startAirflow(at: LabHome): Components {
  const quiet = at.release.startsWith('2.5.') ? [] : ['--skip-serve-logs'];
  return startComponents(at, {
    scheduler: ['scheduler', '--skip-serve-logs'],
    triggerer: ['triggerer', ...quiet],
    ...(at.release.startsWith('2.')
      ? {}
      : { 'dag-processor': ['dag-processor'], 'api-server': ['api-server'] }),
  });
}

/** Runs these `airflow` commands, by the names of their logs. */
export function startComponents(
  at: LabHome,
  commands: Readonly<Record<string, readonly string[]>>,
): Components {
  const components = new Map(
    Object.entries(commands).map(([name, args]) => [name, startComponent(at, name, args)] as const),
  );
  return {
    mustRun: () => {
      const ended = [...components].filter(([, child]) => !isRunning(child)).map(([name]) => name);
      if (ended.length > 0) throw new Error(`Ended by itself in ${at.home}: ${ended.join(', ')}`);
    },
    add: (name, ...args) => void components.set(name, startComponent(at, name, args)),
    kill: () => killAll([...components.values()]),
  };
}

/** Ends what tests that failed left running. */
export const killAllAirflows = (): Promise<void> => killAll([...started]);

async function killAll(roots: readonly ChildProcess[]): Promise<void> {
  const sessions = new Set(roots.flatMap((child) => child.pid ?? []));
  for (;;) {
    const pids = processesOf(sessions);
    if (pids.length === 0) break;
    // All stop before the first one dies: none sees another's death and writes it down.
    for (const name of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of pids) signal(pid, name);
    await sleep(200);
  }
  for (const child of roots) started.delete(child);
}

/** Every process in one of the sessions, and every descendant of these (a BashOperator's is in a session of its own). */
function processesOf(sessions: ReadonlySet<number>): readonly number[] {
  const parents = new Map<number, number>();
  const found = new Set<number>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = statOf(Number(entry));
    if (stat === undefined) continue;
    parents.set(Number(entry), stat.parent);
    if (sessions.has(stat.session)) found.add(Number(entry));
  }
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  }
  return [...found];
}

/** Parent and session of a process that has not ended; undefined for one that has. */
function statOf(pid: number): { readonly parent: number; readonly session: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the command name in parentheses: state, parent, process group, session.
    const [state, parent, , session] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : { parent: Number(parent), session: Number(session) };
  } catch {
    return undefined;
  }
}

export interface Found {
  readonly pid: number;
  readonly parent: number;
}

/** The process that has all of these texts in its command line. */
export function findProcess(...texts: readonly string[]): Found | undefined {
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = statOf(Number(entry));
    const line = stat === undefined ? '' : commandLine(Number(entry));
    if (stat !== undefined && texts.every((text) => line.includes(text))) {
      return { pid: Number(entry), parent: stat.parent };
    }
  }
  return undefined;
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** As the kernel does when memory runs out. */
export function killProcess(pid: number): void {
  signal(pid, 'SIGKILL');
}

/** Stops the process that supervises a task, so that it notices nothing more. */
export function freezeParentOf(pid: number): void {
  const stat = statOf(pid);
  if (stat === undefined) throw new Error(`Process ${pid} has ended.`);
  signal(stat.parent, 'SIGSTOP');
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

function killAllNow(): void {
  const sessions = new Set([...started].flatMap((child) => child.pid ?? []));
  for (const pid of sessions.size === 0 ? [] : processesOf(sessions)) signal(pid, 'SIGKILL');
}
process.once('exit', killAllNow);
// vitest ends its workers so when it is interrupted; no exit handler runs then.
process.once('SIGTERM', () => {
  killAllNow();
  process.exit(143);
});
