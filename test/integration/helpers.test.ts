import { describe, expect, test } from 'vitest';
import { diffSnapshots, snapshotTables } from '../helpers/compare.ts';
import { createDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_VERSIONS } from '../helpers/fixtures.ts';
import { hurtfulRows } from '../helpers/hurtful-rows.ts';

describe.each(FIXTURE_VERSIONS)('Airflow %s', (version) => {
  test('rows made to hurt fit', async () => {
    const client = await (await createDatabase({ version })).client();
    const before = await snapshotTables(client);
    const counts = await hurtfulRows(client);
    const after = await snapshotTables(client);
    expect(Object.values(counts).reduce((a, b) => a + b)).toBeGreaterThan(300);
    for (const [table, count] of Object.entries(counts)) {
      expect(after.get(table)?.rows.length, table).toBe((before.get(table)?.rows.length ?? 0) + count);
    }
    expect(diffSnapshots(after, await snapshotTables(client))).toEqual([]);
  });
});

const CHANGES: readonly (readonly [sql: string, seen: RegExp])[] = [
  [
    "UPDATE variable SET val = val || E'\\r' WHERE key = 'hurtful_3'",
    /^variable .*: val was " leading and trailing ", is " leading and trailing \\r"$/,
  ],
  ["UPDATE variable SET val = '' WHERE key = 'hurtful_0'", /^variable .*: val was NULL, is ""$/],
  [
    "UPDATE variable SET val = overlay(val PLACING '!' FROM 400000) WHERE length(val) = 500000 AND is_encrypted IS NULL",
    /^variable .*: val was ".*" *… \(500000 characters\), is ".*!.*… \(500000 characters\)$/,
  ],
  ['DELETE FROM log WHERE id = (SELECT max(id) FROM log)', /^log \[.*\]: only before/],
  [
    "UPDATE task_instance SET duration = '0.3000000000000001' WHERE duration = '0.30000000000000004'",
    /: duration was "0.30000000000000004", is "0.3000000000000001"$/,
  ],
  ["UPDATE task_instance SET duration = '0' WHERE duration::text = '-0'", /: duration was "-0", is "0"$/],
  [
    "UPDATE sla_miss SET execution_date = execution_date - '1 microsecond'::interval WHERE execution_date = '1969-12-31 23:59:59.999999+00'",
    /^sla_miss .*only/,
  ],
  [
    "UPDATE task_map SET keys = '{  }' WHERE keys::text = '  {  }  '",
    /^task_map .*: keys was "  { {2}} {2}", is "{ {2}}"$/,
  ],
  [
    'UPDATE xcom SET value = set_byte(value, 255, 0) WHERE length(value) = 256',
    /^xcom .*: value was ".*ff.*", is ".*00.*"$/,
  ],
];

test('the comparison sees and names every change', async () => {
  const client = await (await createDatabase()).client();
  await hurtfulRows(client);
  let before = await snapshotTables(client);
  let fingerprint = await databaseFingerprint(client);
  for (const [sql, seen] of CHANGES) {
    expect((await client.query(sql)).rowCount, sql).toBeGreaterThan(0);
    const [after, fingerprintAfter] = [await snapshotTables(client), await databaseFingerprint(client)];
    expect(diffSnapshots(before, after)[0]).toMatch(seen);
    expect(fingerprintAfter, sql).not.toEqual(fingerprint);
    [before, fingerprint] = [after, fingerprintAfter];
  }
});

test.each([
  ['a sequence', "SELECT nextval('log_id_seq')"],
  ['an index', 'CREATE INDEX extra ON log (owner)'],
  ['a constraint', 'ALTER TABLE xcom DROP CONSTRAINT xcom_task_instance_fkey'],
  ['a default', "ALTER TABLE log ALTER owner SET DEFAULT ''"],
  ['a grant', 'GRANT SELECT ON log TO pg_monitor'],
  ['a comment', "COMMENT ON TABLE log IS 'x'"],
  ['a schema', 'CREATE SCHEMA lifeboat_x'],
])('the fingerprint sees %s', async (_, sql) => {
  const client = await (await createDatabase()).client();
  const before = await databaseFingerprint(client);
  expect(await databaseFingerprint(client)).toEqual(before);
  await client.query(sql);
  expect(await databaseFingerprint(client)).not.toEqual(before);
});

test('two databases from one template have one fingerprint', async () => {
  const [a, b] = await Promise.all([createDatabase({ from: 'fresh' }), createDatabase({ from: 'fresh' })]);
  expect(await databaseFingerprint(await a.client())).toEqual(await databaseFingerprint(await b.client()));
});
