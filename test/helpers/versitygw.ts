import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** A versitygw that runs. */
export interface S3Server {
  readonly url: string;
  /** An existing, empty bucket. */
  readonly bucket: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

/** Twelve digits: versitygw takes the access key for the account id that owns the buckets. */
const ACCESS_KEY = '111111111111';
const SECRET_KEY = 'a-secret-that-only-the-tests-know';
const START_TIMEOUT_MS = 20_000;

/** Installs versitygw when it is missing, and runs it on a free port with one bucket. */
export async function startVersitygw(
  bucket: string,
): Promise<{ readonly server: S3Server; readonly stop: () => Promise<void> }> {
  const install = join(import.meta.dirname, '../../scripts/install-versitygw.sh');
  const binary = execFileSync(install, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();
  const directory = await mkdtemp(join(tmpdir(), 'lifeboat-versitygw-'));
  // In its data directory, a bucket is a directory.
  await mkdir(join(directory, 'data', bucket), { recursive: true });
  await mkdir(join(directory, 'metadata'));
  const port = await freePort();
  // A sidecar, because temporary directories may lie on a filesystem without extended attributes.
  const storage = ['posix', '--sidecar', join(directory, 'metadata'), join(directory, 'data')];
  const listen = ['--port', `127.0.0.1:${port}`, '--region', 'us-east-1', '--quiet', '--health', '/health'];
  const gateway = spawn(binary, [...listen, ...storage], {
    env: { ROOT_ACCESS_KEY_ID: ACCESS_KEY, ROOT_SECRET_ACCESS_KEY: SECRET_KEY, PATH: process.env.PATH },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(gateway, 'exit');
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    gateway.kill('SIGTERM');
    await Promise.race([exited, sleep(5000).then(() => gateway.kill('SIGKILL'))]);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await untilHealthy(`${url}/health`, () => gateway.exitCode !== null);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { server: { url, bucket, accessKey: ACCESS_KEY, secretKey: SECRET_KEY }, stop };
}

async function untilHealthy(url: string, gone: () => boolean): Promise<void> {
  const end = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < end && !gone()) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok === true) return;
    await sleep(50);
  }
  throw new Error(`versitygw did not answer ${url} within ${START_TIMEOUT_MS} ms.`);
}
