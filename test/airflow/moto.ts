import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LAB, UV } from './bridge.ts';
import { run } from './run.ts';

const MOTO = '5.2.5';

/** Into an environment beside the Airflows, kept for the next run. Returns the path of its server. */
export async function installMoto(): Promise<string> {
  const venv = join(LAB, `moto-${MOTO}`);
  const server = join(venv, 'bin', 'moto_server');
  if (existsSync(server)) return server;
  await run(UV, ['venv', '--clear', '--python', '3.11', venv]);
  await run(UV, ['pip', 'install', '--python', join(venv, 'bin', 'python'), `moto[server]==${MOTO}`]);
  return server;
}
