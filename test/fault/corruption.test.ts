import { rm, writeFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import { encodeManifest } from '../../src/engine/manifest-text.ts';
import type { Manifest, ManifestPart, ManifestTable } from '../../src/engine/manifest.ts';
import { restore } from '../../src/engine/restore.ts';
import { verify } from '../../src/engine/verify.ts';
import { ObjectNotFoundError } from '../../src/errors.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { cli, jsonLines } from '../cli/run-cli.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import {
  backupRequest,
  context,
  EXHAUSTIVE,
  failure,
  makeDifferent,
  readObject,
  restoreRequest,
  sha256,
  useFolder,
} from './world.ts';

/** Key → its bytes now, null: gone. */
type Change = Readonly<Record<string, Uint8Array | null>>;

interface Corruption {
  readonly what: string;
  readonly change: Change;
  readonly kind?: 'unsupported';
}

/** A restore of every corruption takes minutes; verify always sees them all. */
const RESTORE_EVERY = EXHAUSTIVE ? 1 : 9;

const folder = useFolder();
const base = createMemoryStorage();
let source: TestDatabase;
let target: TestDatabase;
let observer: pg.Client;
let untouched: DatabaseFingerprint;
let manifest: Manifest;
let older: Manifest;
/** Of both backups. */
const stored = new Map<string, Buffer>();
let verified = 0;
let restored = 0;

beforeAll(async () => {
  source = await createDatabase();
  target = await createDatabase();
  observer = await target.client();
  await makeDifferent(observer);
  untouched = await databaseFingerprint(observer);
  older = await takeBackup();
  const client = await source.client();
  // Every part of the two backups differs, so that a swap is a difference.
  await client.query(`UPDATE variable SET val = val || 'x' WHERE id = (SELECT max(id) FROM variable)`);
  manifest = await takeBackup();
  for await (const { key } of base.list('')) stored.set(key, await readObject(base, key));
});
afterAll(async () => {
  console.log(`Corruptions refused: ${verified} by verify, ${restored} of them tried with restore too.`);
  await Promise.all([source.drop(), target.drop()]);
});

describe('parts', () => {
  test('flipped, cut, extended, removed, swapped: each is found', async () => {
    const corruptions = parts(manifest).flatMap(({ key }) => damageTo(key));
    expect(corruptions.length).toBeGreaterThan(200);
    await refuseAll(corruptions);
  });

  test('in the place of another part', async () => {
    const all = parts(manifest);
    await refuseAll(
      all.flatMap(({ key }, at) => {
        const other = all[(at + 1) % all.length]?.key ?? '';
        if (bytesOf(key).equals(bytesOf(other))) return [];
        return [
          { what: `${key} and ${other} swapped`, change: { [key]: bytesOf(other), [other]: bytesOf(key) } },
        ];
      }),
    );
  });

  test('in the place of the same part of another backup', async () => {
    const swaps = parts(manifest).flatMap(({ key }): readonly Corruption[] => {
      const other = key.replace(manifest.backupId, older.backupId);
      if (bytesOf(key).equals(bytesOf(other))) return [];
      return [{ what: `${key} from ${older.backupId}`, change: { [key]: bytesOf(other) } }];
    });
    expect(swaps.length).toBeGreaterThan(0);
    await refuseAll(swaps);
  });
});

describe('the manifest', () => {
  test('flipped at any byte, cut or extended', async () => {
    const key = manifestKey(manifest);
    const bytes = bytesOf(key);
    const step = EXHAUSTIVE ? 7 : 211;
    const flips = Array.from({ length: Math.ceil(bytes.length / step) }, (_, at) => at * step).map(
      (at): Corruption => ({
        what: `${key}: bit ${at % 8} of byte ${at}`,
        change: { [key]: flip(bytes, at, at % 8) },
      }),
    );
    await refuseAll([...flips, ...damageTo(key).filter(({ what }) => !what.endsWith('removed'))]);
  });

  test('that is no manifest', async () => {
    const texts: Readonly<Record<string, string | Buffer>> = {
      'not JSON': 'once upon a time',
      'a list': '[]',
      null: 'null',
      'a number': '1',
      'an empty object': '{}',
      'no version': JSON.stringify({ ...manifest, formatVersion: undefined }),
      'version as text': JSON.stringify({ ...manifest, formatVersion: '1' }),
      'version 0': JSON.stringify({ ...manifest, formatVersion: 0 }),
      'version 1.5': JSON.stringify({ ...manifest, formatVersion: 1.5 }),
      'not UTF-8': Buffer.concat([bytesOf(manifestKey(manifest)).subarray(0, 50), Buffer.from([0xff, 0xfe])]),
      'UTF-16': Buffer.from(bytesOf(manifestKey(manifest)).toString(), 'utf16le'),
      'a byte order mark': Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytesOf(manifestKey(manifest))]),
      'deeply nested': '['.repeat(200_000),
      'larger than any manifest': Buffer.alloc(65 * 1024 * 1024, ' '),
      'of another backup': bytesOf(manifestKey(older)),
    };
    await refuseAll(
      Object.entries(texts).map(([what, text]) => ({
        what,
        change: { [manifestKey(manifest)]: Buffer.from(text) },
      })),
      1,
    );
  });

  test('of a newer format is another answer', async () => {
    const versions = [3, 4, 1000, 1e300];
    await refuseAll(
      versions.flatMap((formatVersion): readonly Corruption[] => [
        { what: `format ${formatVersion}`, change: edited({ formatVersion }), kind: 'unsupported' },
        {
          what: `format ${formatVersion}, nothing else known`,
          change: { [manifestKey(manifest)]: Buffer.from(JSON.stringify({ formatVersion, new: true })) },
          kind: 'unsupported',
        },
      ]),
      1,
    );
  });

  test('edited by hand', async () => {
    const text = bytesOf(manifestKey(manifest)).toString();
    const edit = (what: string, changed: string): Corruption => {
      expect(changed, what).not.toBe(text);
      return { what, change: { [manifestKey(manifest)]: Buffer.from(changed) } };
    };
    await refuseAll(
      [
        edit('a number', text.replace(/"rows": (\d+)/, '"rows": 1$1')),
        edit('a name', text.replace('"variable"', '"connection"')),
        edit('a hash', text.replace(/"sha256": "./, '"sha256": "g')),
        edit('a column', text.replace('"key",', '')),
        edit('white space', text.replace('": ', '":  ')),
        edit('without the last line end', text.trimEnd()),
        edit('another backup id', text.replace(manifest.backupId, older.backupId)),
        edit('a second member', text.replace('{', '{"formatVersion": 1,')),
        edit('a second checksum', text.replace('{', `{"checksum": "${manifest.checksum}",`)),
        edit('no checksum', text.replace(/,\s*"checksum": "[0-9a-f]+"/, '')),
        edit('a checksum of zeros', text.replace(manifest.checksum, '0'.repeat(64))),
      ],
      1,
    );
  });

  test('edited, with a checksum that fits', async () => {
    const [first, second] = manifest.tables.filter((table) => table.rows > 1);
    if (first === undefined || second === undefined) throw new Error('the fixture has no rows');
    const part = first.parts[0];
    const secondPart = second.parts[0];
    if (part === undefined || secondPart === undefined) throw new Error('a table without parts');
    const outside = [
      `backups/${manifest.backupId}/../${older.backupId}/tables/${first.name}/0001.csv.gz`,
      `backups/${manifest.backupId}/tables/../../../secrets.csv.gz`,
      `backups/${older.backupId}/tables/${first.name}/0001.csv.gz`,
      `backups/${manifest.backupId}/tables//${first.name}/0001.csv.gz`,
      `../../etc/passwd`,
      `/etc/passwd`,
      `backups/${manifest.backupId}/manifest.json`,
    ];
    const key = manifestKey(manifest);
    const duplicate = bytesOf(key).toString().replace('{', '{\n  "label": "for whoever reads the first",');
    await refuseAll(
      [
        ...outside.map((at) => ({ what: `a part at ${at}`, change: withPart(first, { ...part, key: at }) })),
        { what: 'a part twice', change: withTable({ ...first, rows: 2 * part.rows, parts: [part, part] }) },
        { what: 'rows of a part', change: withRows(first, part, part.rows + 1) },
        { what: 'fewer rows of a part', change: withRows(first, part, part.rows - 1) },
        { what: 'rows of a table', change: withTable({ ...first, rows: first.rows + 1 }) },
        { what: 'no parts', change: withTable({ ...first, parts: [] }) },
        { what: 'a table twice', change: edited({ tables: [...manifest.tables, first] }) },
        {
          what: 'totals',
          change: edited({ totals: { ...manifest.totals, rows: manifest.totals.rows + 1 } }),
        },
        { what: 'size of a part', change: withPart(first, { ...part, bytes: part.bytes + 1 }) },
        { what: 'hash of a part', change: withPart(first, { ...part, sha256: 'a'.repeat(64) }) },
        {
          what: 'two tables with each other’s parts',
          change: edited({
            tables: manifest.tables.map((table) =>
              table.name === first.name
                ? { ...table, rows: second.rows, parts: second.parts }
                : table.name === second.name
                  ? { ...table, rows: first.rows, parts: first.parts }
                  : table,
            ),
          }),
        },
        { what: 'a member twice', change: { [key]: resealed(duplicate) } },
        { what: 'another backup id', change: edited({ backupId: older.backupId }) },
      ],
      1,
    );
  });
});

describe('on disk, through the command line', () => {
  test('damage is 12, a newer format 13, and a backup without its manifest is no backup', async () => {
    const path = folder.path('storage');
    const storage = createLocalStorage(path);
    const { backupId } = await backup(context(storage), backupRequest(source));
    const env = { LIFEBOAT_AIRFLOW: target.url, LIFEBOAT_STORAGE: path };
    const part = join(path, 'backups', backupId, 'tables/log/0001.csv.gz');
    const file = join(path, 'backups', backupId, 'manifest.json');
    const newer = (bytes: Buffer): Buffer =>
      Buffer.from(bytes.toString().replace('"formatVersion": 1', '"formatVersion": 3'));
    const cases: readonly (readonly [string, (bytes: Buffer) => Buffer | null, number])[] = [
      [part, (bytes) => flip(bytes, bytes.length >> 1, 3), 12],
      [part, () => null, 12],
      [file, (bytes) => bytes.subarray(0, bytes.length >> 1), 12],
      [file, newer, 13],
      [file, () => null, 10],
    ];
    for (const [name, damage, code] of cases) {
      const bytes = await readFile(name);
      const damaged = damage(bytes);
      await (damaged === null ? rm(name) : writeFile(name, damaged));
      for (const command of [
        ['verify', 'latest'],
        ['restore', 'latest', '--clean', '--ignore-running', '--yes'],
      ]) {
        const result = await cli([...command, '--json'], { env });
        expect(result.code, `${command.join(' ')} with ${name}: ${result.stderr}`).toBe(code);
        expect(jsonLines(result.stdout).summary.error).toMatchObject({
          next: expect.stringMatching(/./) as unknown,
        });
      }
      await writeFile(name, bytes);
    }
    expect(await databaseFingerprint(observer)).toEqual(untouched);
  });
});

/** Verify and restore refuse each; the target is as it was. */
async function refuseAll(corruptions: readonly Corruption[], restoreEvery = RESTORE_EVERY): Promise<void> {
  for (const [at, { what, change, kind = 'integrity' }] of corruptions.entries()) {
    const storage = changed(base, change);
    const error = await failure(verify(context(storage), { backup: manifest.backupId }));
    expect(error.kind, `${what}: ${error.message}`).toBe(kind);
    verified += 1;
    if (at % restoreEvery !== 0) continue;
    const ctx = context(storage);
    const refusal = await failure(restore(ctx, restoreRequest(target, { backup: manifest.backupId })));
    expect(refusal.kind, `restore of ${what}: ${refusal.message}`).toBe(kind);
    restored += 1;
  }
  expect(await databaseFingerprint(observer)).toEqual(untouched);
}

function damageTo(key: string): readonly Corruption[] {
  const bytes = bytesOf(key);
  const last = bytes.length - 1;
  const positions = EXHAUSTIVE
    ? [0, 1, 2, 3, 4, 8, 9, 10, bytes.length >> 2, bytes.length >> 1, last - 8, last - 4, last - 1, last]
    : [0, bytes.length >> 1, last];
  const to = (what: string, damaged: Uint8Array | null): Corruption => ({
    what: `${key} ${what}`,
    change: { [key]: damaged },
  });
  return [
    ...positions.map((at) => to(`bit ${at % 8} of byte ${at} flipped`, flip(bytes, at, at % 8))),
    to('emptied', Buffer.alloc(0)),
    to('cut in half', bytes.subarray(0, bytes.length >> 1)),
    to('without its last byte', bytes.subarray(0, -1)),
    to('with a byte more', Buffer.concat([bytes, Buffer.from([0])])),
    to('with a second one behind it', Buffer.concat([bytes, bytes])),
    to('removed', null),
  ];
}

function flip(bytes: Uint8Array, at: number, bit: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
  return flipped;
}

// --- manifests that say something else ---

function edited(changes: Partial<Manifest>): Change {
  return { [manifestKey(manifest)]: encodeManifest({ ...manifest, ...changes }) };
}

/** With totals that fit. */
function withTable(table: ManifestTable): Change {
  const tables = manifest.tables.map((one) => (one.name === table.name ? table : one));
  const all = tables.flatMap((one) => one.parts);
  return edited({
    tables,
    totals: {
      tables: tables.length,
      rows: tables.reduce((sum, one) => sum + one.rows, 0),
      parts: all.length,
      bytes: all.reduce((sum, one) => sum + one.bytes, 0),
    },
  });
}

function withPart(table: ManifestTable, part: ManifestPart): Change {
  return withTable({ ...table, parts: [part] });
}

function withRows(table: ManifestTable, part: ManifestPart, rows: number): Change {
  return withTable({ ...table, rows, parts: [{ ...part, rows }] });
}

/** The text with a checksum of its own. */
function resealed(text: string): Buffer {
  const { checksum } = JSON.parse(text) as Manifest;
  const blank = text.replace(checksum, '0'.repeat(64));
  return Buffer.from(text.replace(checksum, sha256(Buffer.from(blank))));
}

function manifestKey({ backupId }: Manifest): string {
  return `backups/${backupId}/manifest.json`;
}

function parts({ tables }: Manifest): readonly ManifestPart[] {
  return tables.flatMap((table) => table.parts);
}

function bytesOf(key: string): Buffer {
  const bytes = stored.get(key);
  if (bytes === undefined) throw new Error(`the backups have no object ${key}`);
  return bytes;
}

async function takeBackup(): Promise<Manifest> {
  const result = await backup(context(base), backupRequest(source));
  if (result.manifest === undefined) throw new Error('a backup without a manifest');
  return result.manifest;
}

/** The storage with some objects changed. */
function changed(inner: Storage, change: Change): Storage {
  const overlay = createMemoryStorage();
  return {
    ...inner,
    async read(key, options) {
      const bytes = change[key];
      if (bytes === undefined) return inner.read(key, options);
      if (bytes === null) throw new ObjectNotFoundError(key, inner.location);
      await overlay.write(key, bytes);
      return overlay.read(key, options);
    },
    async *list(prefix, signal) {
      for await (const object of inner.list(prefix, signal)) {
        if (change[object.key] !== null) yield object;
      }
    },
  };
}
