import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { decodeManifest } from '../../src/engine/manifest-file.ts';
import { encodeManifest } from '../../src/engine/manifest-text.ts';
import type { UnsealedManifest } from '../../src/engine/manifest-text.ts';
import { isLifeboatError } from '../../src/errors.ts';

const ID = '20261121T013012345Z-4f3a9c';
const PART = {
  key: `backups/${ID}/tables/variable/0001.csv.gz`,
  rows: 3,
  bytes: 120,
  sha256: 'ab'.repeat(32),
};

const MANIFEST: UnsealedManifest = {
  formatVersion: 1,
  backupId: ID,
  label: 'before the upgrade — "quoted", 池',
  tool: { name: 'airflow-lifeboat', version: '0.1.0' },
  source: {
    kind: 'database',
    environment: 'db:5432/airflow',
    schema: 'public',
    airflow: '2.8',
    alembicHead: '88344c1d9134',
    postgres: '15.4',
  },
  snapshotTime: '2026-11-21T01:30:12.345678Z',
  compression: 'gzip:1',
  secrets: { mode: 'ciphertext', fernetKeys: [] },
  tables: [
    {
      name: 'variable',
      columns: ['id', 'key'],
      types: { id: 'integer', key: 'character varying(250)' },
      rows: 3,
      maxIds: { id: 9 },
      parts: [PART],
    },
  ],
  leftOut: [{ table: 'session', reason: 'browser sessions' }],
  totals: { tables: 1, rows: 3, parts: 1, bytes: 120 },
  durationSeconds: 1.5,
};

const text = (): string => Buffer.from(encodeManifest(MANIFEST)).toString();

function problemOf(bytes: string | Uint8Array): { kind: string; message: string } {
  try {
    decodeManifest(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, ID);
  } catch (error) {
    if (isLifeboatError(error)) return { kind: error.kind, message: error.message };
    throw error;
  }
  throw new Error('This manifest should have been refused.');
}

/** With a checksum that is right: what an attacker, or a careful hand, would write. */
function resealed(change: (manifest: Record<string, unknown>) => void): Uint8Array {
  const manifest = JSON.parse(text()) as Record<string, unknown>;
  delete manifest.checksum;
  change(manifest);
  return encodeManifest(manifest as unknown as UnsealedManifest);
}

test('comes back as it was written, with the checksum of its own bytes', () => {
  const { checksum, ...rest } = decodeManifest(encodeManifest(MANIFEST), ID);
  expect(rest).toEqual(MANIFEST);
  const zeroed = text().replace(checksum, '0'.repeat(64));
  expect(createHash('sha256').update(zeroed).digest('hex')).toBe(checksum);
});

test('any single byte that changes is noticed', () => {
  const bytes = Buffer.from(text());
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    const { kind } = problemOf(changed);
    // The one digit of the format version may become a newer format.
    expect(['integrity', 'unsupported'], `byte ${at}`).toContain(kind);
  }
});

test('any cut is noticed', () => {
  const bytes = Buffer.from(text());
  for (let length = 0; length < bytes.length; length += 13) {
    expect(problemOf(bytes.subarray(0, length)).kind, `${length} bytes`).toBe('integrity');
  }
});

describe('with a checksum that is right', () => {
  test.each<[string, (manifest: Record<string, unknown>) => void, RegExp]>([
    ['of another backup', (one) => (one.backupId = '20261121T013012345Z-000000'), /belongs to backup/],
    [
      'of a kind that its format is not',
      (one) => (one.formatVersion = 2),
      /format 2 is not that of a backup of kind/,
    ],
    ['without tables', (one) => delete one.tables, /tables/],
    ['with a member of its own', (one) => (one.extra = 1), /additional|must NOT/i],
    ['with rows that are text', (one) => (one.totals = { tables: 1, rows: '3', parts: 1, bytes: 1 }), /rows/],
  ])('%s is refused', (_, change, message) => {
    const problem = problemOf(resealed(change));
    expect(problem.kind).toBe('integrity');
    expect(problem.message).toMatch(message);
  });

  test.each([
    'backups/20261121T013012345Z-000000/tables/variable/0001.csv.gz',
    `backups/${ID}/../x/0001.csv.gz`,
    `backups/${ID}/tables//0001.csv.gz`,
    '/etc/passwd',
  ])('a part at %s is refused', (key) => {
    const problem = problemOf(
      resealed((one) => {
        one.tables = [{ ...MANIFEST.tables[0], parts: [{ ...PART, key }] }];
      }),
    );
    expect(problem.kind).toBe('integrity');
  });

  test('a newer format is told apart, whatever else it holds', () => {
    const problem = problemOf('{"formatVersion": 3, "everything": "new"}');
    expect(problem.kind).toBe('unsupported');
    expect(problem.message).toMatch(/format 3; .* up to 2/);
  });
});

test.each(['', 'null', '[]', '1', '{}', '{"formatVersion": "1"}', '\ufeff{}', 'not JSON'])(
  '%j is no manifest',
  (it) => {
    expect(problemOf(it).kind).toBe('integrity');
  },
);
