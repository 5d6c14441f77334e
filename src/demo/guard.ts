import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What `ps` shows. */
export const GUARD_NAME = 'lifeboat-guard';

/**
 * A shell that outlives this process and waits on a pipe from it. However this process ends (return, exception,
 * Ctrl-C, kill -9), the kernel closes the pipe; the shell then ends the server and removes the folder. No exit hook
 * can do that: there is none for SIGKILL, and none may wait.
 *
 * It reads lines: a process id to end, `none` when that process is gone already, `done` when nothing is left to do.
 */
const SCRIPT = `
trap '' HUP INT TERM
pid=none
while read -r line; do
  if [ "$line" = done ]; then exit 0; fi
  pid=$line
done
if [ "$pid" != none ] && kill -QUIT "$pid" 2>/dev/null; then
  tries=0
  # Not the process id alone: where nobody reaps orphans, it stays for ever.
  while [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
# An initdb cut off from its parent may have written once more meanwhile.
sleep 0.5
rm -rf -- "$1"
`;

export interface Guard {
  readonly pid: number;
  /** From now on this process ends with ours. */
  watch(pid: number): void;
  /** The process has ended. */
  forget(): void;
  /** Nothing is left to clean up; resolves when the guard is gone. */
  release(): Promise<void>;
}

/** Guards `folder` from now until release(). */
export async function startGuard(folder: string): Promise<Guard> {
  // detached: Ctrl-C in a terminal goes to the whole process group, and the guard must survive it.
  const child = spawn('/bin/sh', ['-c', SCRIPT, GUARD_NAME, folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  await once(child, 'spawn');
  // After 'spawn' there is one.
  const pid = child.pid ?? 0;
  const exited = once(child, 'exit');
  // A guard that somebody killed must not take this process with it.
  child.stdin.on('error', () => undefined);
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  const tell = (line: string): void => void child.stdin.write(`${line}\n`);
  return {
    pid,
    watch: (server) => {
      tell(String(server));
    },
    forget: () => {
      tell('none');
    },
    async release() {
      child.ref();
      tell('done');
      await exited;
    },
  };
}
