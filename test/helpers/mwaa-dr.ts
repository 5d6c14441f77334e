import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';

export type MwaaFixture = 'clean' | 'inflight';

const ROOT = new URL('../fixtures/mwaa-dr/', import.meta.url);

/** A real backup of mwaa_dr in a storage of its own, with files replaced or (undefined) left out. */
export async function mwaaBackup(
  fixture: MwaaFixture,
  changes: Readonly<Record<string, string | undefined>> = {},
): Promise<Storage> {
  const storage = createMemoryStorage();
  for (const name of readdirSync(new URL(`${fixture}/`, ROOT))) {
    const file = name.replace(/\.gz$/, '');
    if (!file.endsWith('.csv') || file in changes) continue;
    await storage.write(file, fixtureFile(fixture, file));
  }
  for (const [file, text] of Object.entries(changes)) {
    if (text !== undefined) await storage.write(file, Buffer.from(text));
  }
  return storage;
}

export function fixtureFile(fixture: MwaaFixture, file: string): Buffer {
  return gunzipSync(readFileSync(new URL(`${fixture}/${file}.gz`, ROOT)));
}

export type ExpectedRow = Readonly<Record<string, unknown>>;

/** Every row of the source when the backup was made, as row_to_json gave it. */
export function expectedRows(fixture: MwaaFixture, table: string): readonly ExpectedRow[] {
  return (expected(fixture)[table] ?? []) as readonly ExpectedRow[];
}

/** Name → decrypted values. */
export function expectedSecrets(
  fixture: MwaaFixture,
  table: 'variable' | 'connection',
): Readonly<Record<string, ExpectedRow>> {
  return expected(fixture)[`${table}_decrypted`] as Readonly<Record<string, ExpectedRow>>;
}

function expected(fixture: MwaaFixture): Readonly<Record<string, unknown>> {
  return JSON.parse(fixtureFile(fixture, 'expected.json').toString('utf8')) as Record<string, unknown>;
}
