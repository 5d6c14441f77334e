import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';

const MODULE = new URL('../../dist/demo/embedded-postgres.js', import.meta.url).href;

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'lifeboat-test-'));
  await chmod(parent, 0o755);
});
afterEach(() => rm(parent, { recursive: true, force: true }));

/** A process that starts a server and then does `then`; a process group of its own, as in a terminal. */
function startIn(folder: string, then: string): ChildProcess {
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(MODULE)});
    const server = await startEmbeddedPostgres({ temporaryFolders: [${JSON.stringify(folder)}] });
    console.log(server.port);
    ${then}`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

const WAIT = 'setInterval(() => undefined, 1000)';

async function started(child: ChildProcess): Promise<void> {
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  expect(Number(line.toString())).toBeGreaterThan(0);
}

async function postmasterPid(folder: string): Promise<number> {
  const [name] = await readdir(folder);
  return Number((await readFile(join(folder, name ?? '', 'data/postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** Zombies count as gone: whoever is to reap an orphan is the system's business. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
    const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') R');
    return !status.includes(') Z');
  } catch {
    return false;
  }
}

async function expectNothingLeft(pid: number | undefined): Promise<void> {
  for (let waited = 0; waited < 10_000; waited += 50) {
    const gone = pid === undefined || !(await isRunning(pid));
    if (gone && (await readdir(parent)).length === 0) break;
    await sleep(50);
  }
  expect(await readdir(parent)).toEqual([]);
  if (pid !== undefined) expect(await isRunning(pid)).toBe(false);
}

test.each(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const)('nothing is left after %s', async (signal) => {
  const child = startIn(parent, WAIT);
  await started(child);
  const server = await postmasterPid(parent);
  expect(await isRunning(server)).toBe(true);
  // To the whole group, as a terminal's Ctrl-C and a container's stop do it.
  process.kill(-child.pid!, signal);
  await expectNothingLeft(server);
});

test.each([
  ['an uncaught error', 'throw new Error("x")'],
  ['process.exit', 'process.exit(0)'],
  ['an end without stop()', ''],
])('nothing is left after %s', async (_, then) => {
  const child = startIn(parent, then);
  const exited = once(child, 'exit');
  await started(child);
  await exited;
  await expectNothingLeft(undefined);
});

test('nothing is left of a start that was killed at any moment', async () => {
  for (let delay = 50; delay <= 1250; delay += 150) {
    const child = startIn(parent, WAIT);
    await sleep(delay);
    process.kill(-child.pid!, 'SIGKILL');
    await once(child, 'exit');
    await sleep(700);
    await expectNothingLeft(undefined);
  }
});

test('what a killed guard left, the next start removes', async () => {
  const child = startIn(parent, WAIT);
  await started(child);
  const server = await postmasterPid(parent);
  const [name] = await readdir(parent);
  const guard = Number(await readFile(join(parent, name ?? '', 'guard.pid'), 'utf8'));
  process.kill(guard, 'SIGKILL');
  process.kill(child.pid!, 'SIGKILL');
  await sleep(500);
  expect(await readdir(parent)).toEqual([name]);
  const next = await startEmbeddedPostgres({ temporaryFolders: [parent] });
  expect(await readdir(parent)).not.toContain(name);
  await next.stop();
  // It would notice by itself within a minute.
  process.kill(server, 'SIGQUIT');
  await expectNothingLeft(server);
});
