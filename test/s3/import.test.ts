import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import type { ImportResult } from '../../src/engine/api.ts';
import { importBackup } from '../../src/engine/import/import.ts';
import { verify } from '../../src/engine/verify.ts';
import { openStorage } from '../../src/storage/open.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { mwaaBackup } from '../helpers/mwaa-dr.ts';
import { engine } from '../integration/engine.ts';
import { serverStorage, useServerCredentials } from './versitygw.ts';

beforeAll(useServerCredentials);
afterAll(() => void vi.unstubAllEnvs());

function imported(from: Storage, storage?: Storage): Promise<ImportResult> {
  return importBackup(engine(storage ? { storage } : {}), {
    from,
    format: 'mwaa-dr',
    airflowVersion: '2.8.1',
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [FIXTURE_FERNET_KEY],
  });
}

test('a backup of mwaa_dr in a bucket becomes one of ours in a bucket, as from a folder', async () => {
  const folder = await mwaaBackup('inflight');
  const old = await serverStorage('old-dr/data');
  for await (const { key } of folder.list('')) {
    const chunks: Buffer[] = [];
    for await (const chunk of await folder.read(key)) chunks.push(chunk as Buffer);
    await old.write(key, Buffer.concat(chunks));
  }
  const from = await openStorage(`s3://${inject('s3').bucket}/old-dr/data`);
  const storage = await serverStorage('imported');
  const { manifest, notes } = await imported(from, storage);

  const usual = await imported(folder);
  expect(notes).toEqual(usual.notes);
  expect(manifest.tables.map(({ name, rows }) => [name, rows])).toEqual(
    usual.manifest.tables.map(({ name, rows }) => [name, rows]),
  );
  const { rows } = await verify(engine({ storage }), { backup: 'latest' });
  expect(rows).toBe(manifest.tables.reduce((sum, table) => sum + table.rows, 0));
});
