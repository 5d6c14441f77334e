import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { fernetDecrypt, fernetEncrypt } from '../../src/secrets/fernet.ts';
import { startFakeKms } from '../helpers/fake-kms.ts';
import { FIXTURE_FERNET_KEY, openFixture } from '../helpers/fixtures.ts';
import { cli, type CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const SOURCE_KEY = FIXTURE_FERNET_KEY;
const TARGET_KEY = `${randomBytes(32).toString('base64url')}=`;
const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-sealed-cli-'));
const storage = join(scratch, 'backups');
const identityFile = join(scratch, 'recovery.key');
let identity: string;
let recipient: string;
let server: EmbeddedPostgres;

/** Values that must be nowhere: of a variable, in clear in another one, of a connection, and of a trigger. */
const MARKERS = [
  'crypted-7d1f-"quoted"',
  'clear-7d1f',
  'password-7d1f',
  'extra-7d1f',
  'trigger-7d1f',
] as const;

/** Not logged, so that what the test itself sends is not found again. */
async function quietly<T>(database: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const url = new URL(server.url);
  url.pathname = `/${database}`;
  const client = new pg.Client({
    connectionString: url.href,
    options: '-c log_statement=none -c log_min_duration_statement=-1',
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function makeDatabase(name: string, kind: 'data' | 'fresh'): Promise<void> {
  await quietly('postgres', (client) => client.query(`CREATE DATABASE ${name} TEMPLATE template0`));
  await quietly(name, (client) => loadSqlDump(client, openFixture(kind, '2.11.0')));
}

function lifeboat(
  words: string,
  database: string | undefined,
  env: Record<string, string>,
): Promise<CliResult> {
  const url = new URL(server.url);
  url.pathname = `/${database ?? ''}`;
  return cli(words.split(' '), {
    cwd: scratch,
    env: {
      LIFEBOAT_STORAGE: storage,
      ...(database === undefined ? {} : { LIFEBOAT_AIRFLOW: url.href }),
      ...env,
    },
  });
}

function storedTexts(folder: string): readonly (readonly [file: string, text: string])[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = join(entry.parentPath, entry.name);
      const bytes = readFileSync(file);
      return [file, (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1')] as const;
    });
}

/** As it is, escaped for JSON, and in base64 at any offset. */
function forms(secret: string): readonly string[] {
  const base64 = [0, 1, 2].map((offset) =>
    Buffer.from(' '.repeat(offset) + secret)
      .toString('base64')
      .slice(offset === 0 ? 0 : 4, -4),
  );
  return [secret, JSON.stringify(secret).slice(1, -1), secret.replaceAll('"', '""'), ...base64];
}

/** The marked secrets of a restored database, as its own key reads them. */
async function markedTexts(database: string): Promise<readonly string[]> {
  const { rows } = await quietly(database, (client) =>
    client.query<{ token: string }>(
      `SELECT val AS token FROM variable WHERE key LIKE 'marked%' AND is_encrypted
       UNION ALL SELECT password FROM connection WHERE conn_id = 'marked' AND is_encrypted
       UNION ALL SELECT extra FROM connection WHERE conn_id = 'marked' AND is_extra_encrypted
       UNION ALL SELECT kwargs FROM trigger WHERE classpath = 'marked'`,
    ),
  );
  return rows.map(({ token }) => fernetDecrypt([TARGET_KEY], token)?.toString() ?? '?').sort();
}

function expectedTexts(): readonly string[] {
  const [crypted, plain, password, extra, trigger] = MARKERS;
  return [crypted, plain, password, `{"a": "${extra}"}`, `{"a": "${trigger}"}`].sort();
}

beforeAll(async () => {
  identity = await generateX25519Identity();
  recipient = await identityToRecipient(identity);
  writeFileSync(identityFile, `# made for a test\n${identity}\n`, { mode: 0o600 });
  server = await startEmbeddedPostgres({
    settings: { log_statement: 'all', log_min_duration_statement: '0', log_parameter_max_length: '-1' },
  });
  await makeDatabase('source', 'data');
  await makeDatabase('target', 'fresh');
  await makeDatabase('rekeyed', 'fresh');
  const [crypted, clear, password, extra, trigger] = MARKERS;
  const token = (text: string): string =>
    fernetEncrypt(SOURCE_KEY, text, { now: new Date(), iv: randomBytes(16) });
  for (const name of ['target', 'rekeyed']) {
    await quietly(name, (client) => client.query('DELETE FROM connection'));
  }
  await quietly('source', async (client) => {
    await client.query(
      `INSERT INTO variable (key, val, is_encrypted) VALUES ('marked', $1, true), ('marked_clear', $2, false)`,
      [token(crypted), clear],
    );
    await client.query(
      `INSERT INTO connection (conn_id, conn_type, password, is_encrypted, extra, is_extra_encrypted)
       VALUES ('marked', 'http', $1, true, $2, false)`,
      [token(password), `{"a": "${extra}"}`],
    );
    await client.query(`INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('marked', $1, now())`, [
      token(`{"a": "${trigger}"}`),
    ]);
  });
}, 120_000);

afterAll(async () => {
  await server.stop();
  rmSync(scratch, { recursive: true, force: true });
});

describe('sealed, from the command line', () => {
  test('no secret and no key is in the server’s log, the storage, the output', async () => {
    const made = await lifeboat(`backup --json --debug --seal-to ${recipient}`, 'source', {
      LIFEBOAT_FERNET_KEY: SOURCE_KEY,
    });
    expect(made.code, made.stderr).toBe(0);
    const unsealed = await lifeboat('restore latest --json --debug --yes --unreadable keep', 'target', {
      LIFEBOAT_FERNET_KEY: TARGET_KEY,
      LIFEBOAT_IDENTITY_FILE: identityFile,
    });
    expect(unsealed.code, unsealed.stderr).toBe(0);

    const log = readFileSync(join(server.workDir, 'postgres.log'), 'utf8');
    // The log is on, and it is of this work: the restore's own statements and parameters are in it.
    expect(log).toContain('lifeboat_stage_variable');
    expect(log).toContain('lifeboat_stage_connection');
    expect(log).toMatch(/[Pp]arameters: \$1 = /);
    const places = [
      ['the server’s log', log],
      ['stdout', made.stdout + unsealed.stdout],
      ['stderr', made.stderr + unsealed.stderr],
      ...storedTexts(storage),
    ] as const;
    const secrets = [...MARKERS, SOURCE_KEY, TARGET_KEY, identity, identity.slice(16)];
    for (const [place, text] of places) {
      for (const secret of secrets) {
        for (const form of forms(secret)) expect(text.includes(form), `${secret} in ${place}`).toBe(false);
      }
    }

    // And all of it is there, for the target's key.
    expect(await markedTexts('target')).toEqual(expectedTexts());
  }, 120_000);

  test('people hear whom it is sealed for, and what opens it', async () => {
    const { stdout } = await lifeboat('show latest', undefined, {});
    expect(stdout).toContain(`sealed for ${recipient}`);
    const verified = await lifeboat('verify latest', undefined, {});
    expect(verified.stdout.replaceAll(/\s+/g, ' ')).toContain('sealed secrets were not opened');
    const opened = await lifeboat(`verify latest --identity-file ${identityFile}`, undefined, {});
    expect(opened.stdout.replaceAll(/\s+/g, ' ')).toContain('open with the given identity');
    expect(opened.stderr).not.toContain('others than its owner');
    const { stdout: doctor } = await lifeboat('doctor', 'source', { LIFEBOAT_FERNET_KEY: SOURCE_KEY });
    expect(doctor.replaceAll(/\s+/g, ' ')).toContain(
      `of the newest backup: Secrets are sealed for ${recipient}`,
    );
  });

  test('exit codes: 14 without an identity or with another one, 2 for a file that is none', async () => {
    const target = { LIFEBOAT_FERNET_KEY: TARGET_KEY };
    const restore = (flags: string, env: Record<string, string> = target): Promise<CliResult> =>
      lifeboat(`restore latest --dry-run --clean --ignore-running ${flags}`.trim(), 'target', env);
    const none = await restore('');
    expect(none.code).toBe(14);
    expect(none.stderr).toContain(recipient);

    const other = join(scratch, 'other.key');
    writeFileSync(other, await generateX25519Identity());
    chmodSync(other, 0o644);
    const wrong = await restore(`--identity-file ${other}`);
    expect(wrong.code).toBe(14);
    expect(wrong.stderr).toContain('can be read by others');

    expect((await restore(`--identity-file ${identityFile}`, {})).code).toBe(14);
    expect((await restore(`--identity-file ${join(scratch, 'no.key')}`)).code).toBe(2);
    writeFileSync(join(scratch, 'text.key'), 'hunter2-is-no-key\n');
    const text = await restore(`--identity-file ${join(scratch, 'text.key')}`);
    expect(text.code).toBe(2);
    expect(text.stderr).not.toContain('hunter2');
    expect((await restore(`--identity-file ${identityFile}`)).code).toBe(0);
  }, 60_000);

  test('KMS seals and opens without an identity file', async () => {
    const kms = await startFakeKms({ 'mrk-0123456789abcdef0123456789abcdef': 'dr' });
    try {
      const own = join(scratch, 'kms');
      const words = `--storage ${own} --json`;
      const env = { ...kms.env, LIFEBOAT_FERNET_KEY: SOURCE_KEY };
      const made = await lifeboat(
        `backup ${words} --tables variable --seal-to awskms://alias/dr?region=eu-west-1`,
        'source',
        env,
      );
      expect(made.code, made.stderr).toBe(0);
      const id = String(checkedLines(made).summary.backupId);
      const target = { ...kms.env, LIFEBOAT_FERNET_KEY: TARGET_KEY };
      const planned = await lifeboat(`restore ${id} ${words} --dry-run`, 'target', target);
      expect(planned.code, planned.stderr + planned.stdout).toBe(0);
      expect(kms.calls.at(-1)).toMatchObject({
        action: 'Decrypt',
        context: { 'airflow-lifeboat:backup': id },
      });
      const opened = await lifeboat(`verify ${id} ${words} --identity-file awskms:`, undefined, kms.env);
      expect(checkedLines(opened).summary.sealed).toBe('opened');
      kms.denied.add('Decrypt');
      const denied = await lifeboat(`restore ${id} ${words} --dry-run`, 'target', target);
      expect(denied.code).toBe(14);
    } finally {
      await kms.close();
    }
  }, 60_000);
});

test('ciphertext for another key: no secret and no key is in the server’s log and the output', async () => {
  const stored = join(scratch, 'ciphertext');
  const log = join(server.workDir, 'postgres.log');
  const before = readFileSync(log, 'utf8').length;
  const made = await lifeboat(`backup --json --debug --storage ${stored}`, 'source', {
    LIFEBOAT_FERNET_KEY: SOURCE_KEY,
  });
  expect(made.code, made.stderr).toBe(0);
  const restored = await lifeboat(
    `restore latest --json --debug --yes --unreadable keep --encrypt-clear --storage ${stored}`,
    'rekeyed',
    { LIFEBOAT_FERNET_KEY: TARGET_KEY, LIFEBOAT_SOURCE_FERNET_KEY: SOURCE_KEY },
  );
  expect(restored.code, restored.stderr).toBe(0);

  const logged = readFileSync(log, 'utf8').slice(before);
  // It is of this work: the tokens for the new key went through statements that are in it.
  expect(logged).toContain('lifeboat_rekeyed');
  const places = [
    ['the server’s log', logged],
    ['the output', made.stdout + made.stderr + restored.stdout + restored.stderr],
  ] as const;
  for (const [place, text] of places) {
    for (const secret of [...MARKERS, SOURCE_KEY, TARGET_KEY]) {
      for (const form of forms(secret)) expect(text.includes(form), `${secret} in ${place}`).toBe(false);
    }
  }
  expect(await markedTexts('rekeyed')).toEqual(expectedTexts());
}, 120_000);

describe('what keeps the secrets of a backup readable', () => {
  test('a key that only the environment has is warned about; one that is given is named; a wrong one is told', async () => {
    const backup = async (env: Record<string, string>): Promise<CliResult> =>
      lifeboat(`backup --tables variable --storage ${join(scratch, 'advice')}`, 'source', env);
    const flat = ({ stdout, stderr }: CliResult): string => `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ');
    const lent = flat(await backup({ MWAA__CORE__FERNET_KEY: JSON.stringify({ FernetKey: SOURCE_KEY }) }));
    expect(lent).toContain('An environment that is gone cannot lend its key');
    expect(lent).toContain('--seal-to');
    expect(flat(await backup({}))).toContain('a Fernet key that is not known here');

    const kept = await backup({ LIFEBOAT_FERNET_KEY: SOURCE_KEY });
    expect(kept.stderr).not.toContain('cannot lend');
    expect(flat(kept)).toContain('Elsewhere that key opens them');
    expect(flat(kept)).toContain(
      'does not read 1 of the 31 encrypted secrets: variable lab_other_fernet_key',
    );
    expect(flat(await lifeboat(`show latest --storage ${join(scratch, 'advice')}`, undefined, {}))).toContain(
      '1 that no key of the source read: variable lab_other_fernet_key',
    );
    const wrong = flat(await backup({ LIFEBOAT_FERNET_KEY: TARGET_KEY }));
    expect(wrong).toContain('it is not the key of this environment');

    const doctor = async (env: Record<string, string>): Promise<string> => flat(await cliDoctor(env));
    const cliDoctor = (env: Record<string, string>): Promise<CliResult> =>
      lifeboat('doctor --json', 'target', env);
    expect(
      await doctor({ AIRFLOW__CORE__FERNET_KEY: TARGET_KEY, LIFEBOAT_STORAGE: join(scratch, 'advice') }),
    ).toMatch(/"check":"secrets elsewhere","status":"warning"/);
    expect(
      await doctor({ LIFEBOAT_FERNET_KEY: TARGET_KEY, LIFEBOAT_STORAGE: join(scratch, 'advice') }),
    ).toMatch(/"check":"secrets elsewhere","status":"ok"/);
  }, 60_000);

  test.each([
    ['backup --secrets sealed', /needs to know for whom/],
    ['backup --secrets ciphertext --seal-to age1x', /says otherwise/],
    ['backup --secrets clear', /--secrets takes ciphertext, sealed, omit/],
    ['backup --seal-to age1x', /no recipient of age/],
    ['backup --seal-to someone', /is no recipient/],
  ])('%s is a usage error', async (words, says) => {
    const { code, stderr } = await lifeboat(words, 'source', { LIFEBOAT_FERNET_KEY: SOURCE_KEY });
    expect(code, stderr).toBe(2);
    expect(stderr).toMatch(says);
  });

  test('to be sealed, and no key of the environment: 14 with the next step', async () => {
    const { code, stderr } = await lifeboat(`backup --seal-to ${recipient}`, 'source', {});
    expect(code).toBe(14);
    expect(stderr).toContain('LIFEBOAT_FERNET_KEY');
  });
});
