import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { LabHome } from './lab.ts';

/** Runs work with a connected client and always closes it. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The rows of a statement; several statements in one text are possible and give none. */
export async function query(at: LabHome, sql: string): Promise<readonly Record<string, unknown>[]> {
  return withClient(at.database, async (client) => {
    const result = await client.query<Record<string, unknown>>(sql);
    return result.rows;
  });
}

/** A database on the server, empty unless it copies another, and an empty home below the folder, both called `name`. */
export async function emptyEnvironment(
  server: string,
  folder: string,
  release: string,
  name: string,
  template = 'template0',
): Promise<LabHome> {
  await withClient(server, (client) =>
    client.query(`CREATE DATABASE ${name} TEMPLATE ${template} ENCODING 'UTF8'`),
  );
  const database = new URL(server);
  database.pathname = `/${name}`;
  const home = join(folder, name);
  await mkdir(home);
  return { release, home, database: database.href };
}
