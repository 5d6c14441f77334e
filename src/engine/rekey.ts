import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { quoteIdent } from '../db/introspect.ts';
import { LifeboatError } from '../errors.ts';
import { canRead, fernetDecrypt, fernetEncrypt, fernetFingerprint } from '../secrets/fernet.ts';
import type { ResolvedSecret, ResolvedTable } from '../versions/registry.ts';
import { stageName } from './stage.ts';
import { secretIsToken, secretLabel } from './unreadable.ts';

/** Tokens in memory at a time; one may be a megabyte. */
const BATCH = 25;
const NAMES_SHOWN = 10;
const IV_BYTES = 16;
const REKEYED = 'pg_temp.lifeboat_rekeyed';

export interface RekeyRequest {
  /** Keys of the target, first key first; empty: not known. */
  readonly targetKeys: readonly string[];
  /** Keys of the source that the user gave besides. */
  readonly sourceKeys: readonly string[];
  /** Fingerprints that the manifest has of the source's keys; empty: not known. */
  readonly storedFingerprints: readonly string[];
  readonly keepUnreadable: boolean;
  readonly encryptClear: boolean;
  /** Time that new tokens carry. */
  readonly now: Date;
}

export interface Rekeyed {
  /** Secrets written anew for the target's first key. */
  readonly reencrypted: number;
  /** Secrets stored in clear that are encrypted now. */
  readonly encrypted: number;
}

export interface Rekeying {
  /** Translates the secrets in the stage of one table. */
  table(client: Client, table: ResolvedTable): Promise<void>;
  /** True when a table's secrets have to go through the stage. */
  needs(table: ResolvedTable): boolean;
  /** @throws LifeboatError 'refused' when secrets were met that no known key reads */
  finish(): Rekeyed;
}

/** What the two sides' keys mean for the secrets of a backup. Pure. */
function rekeyingNeeded(
  request: RekeyRequest,
): 'no target key' | 'same key' | 'other key' | 'source unknown' {
  const { targetKeys, storedFingerprints } = request;
  if (targetKeys.length === 0) return 'no target key';
  if (storedFingerprints.length === 0) return 'source unknown';
  const known = new Set(targetKeys.map(fernetFingerprint));
  return storedFingerprints.every((fingerprint) => known.has(fingerprint)) ? 'same key' : 'other key';
}

/**
 * Makes secrets readable with the target's first key. They travel from the stage through this process and back as
 * tokens: clear text exists in memory only, never in a statement or a parameter that a server could log.
 *
 * With the same key on both sides every token stays as it is, unreadable ones too. When the source's key is not known,
 * a target key that reads none of the secrets counts as another one.
 */
export function createRekeying(request: RekeyRequest): Rekeying {
  const situation = rekeyingNeeded(request);
  const translates = situation === 'other key' || situation === 'source unknown';
  const unreadable: string[] = [];
  let readable = 0;
  let reencrypted = 0;
  let encrypted = 0;

  const translate = (row: SecretRow): string | undefined => {
    if (!row.encrypted) {
      encrypted += 1;
      return encryptFor(request, Buffer.from(row.value));
    }
    if (!translates) return undefined;
    // What the target reads already stays as it is, to the byte.
    if (canRead(request.targetKeys, row.value)) {
      readable += 1;
      return undefined;
    }
    const clear = fernetDecrypt(request.sourceKeys, row.value);
    if (!clear) {
      unreadable.push(row.name);
      return undefined;
    }
    reencrypted += 1;
    return encryptFor(request, clear);
  };

  // What a newer minor keeps encrypted is encrypted on the way there, as Airflow's own migration does it (trigger.kwargs,
  // 0140_2_9_0_update_trigger_kwargs_type.py). Without a key it stays in clear, which Airflow reads too
  // (Trigger._decrypt_kwargs in airflow/models/trigger.py, 2.9.2).
  const encryptsClear = ({ fromClear }: ResolvedSecret): boolean =>
    (request.encryptClear || fromClear) && situation !== 'no target key';
  return {
    needs: (table) => table.secrets.some((secret) => translates || encryptsClear(secret)),
    table: async (client, table) => {
      for (const secret of table.secrets) {
        await translateColumn(client, table, secret, encryptsClear(secret), translate);
      }
    },
    finish: () => {
      const other = situation === 'other key' || readable + reencrypted === 0;
      if (unreadable.length > 0 && other && !request.keepUnreadable) throw refusal(unreadable);
      return { reencrypted, encrypted };
    },
  };
}

function encryptFor({ targetKeys, now }: RekeyRequest, clear: Uint8Array): string {
  const [first] = targetKeys;
  if (first === undefined) throw new Error('There is no key to encrypt for.');
  return fernetEncrypt(first, clear, { now, iv: randomBytes(IV_BYTES) });
}

function refusal(names: readonly string[]): LifeboatError {
  const shown = names.slice(0, NAMES_SHOWN).join(', ');
  const more = names.length > NAMES_SHOWN ? `, and ${names.length - NAMES_SHOWN} more` : '';
  return new LifeboatError(
    'refused',
    `The target has another Fernet key, and no known key reads ${names.length} secrets of the backup: ${shown}${more}.`,
    {
      next: 'Give the source’s key in LIFEBOAT_SOURCE_FERNET_KEY, or restore them as they are with --unreadable keep.',
      details: { unreadable: names },
    },
  );
}

interface SecretRow {
  readonly row: string;
  readonly name: string;
  readonly value: string;
  readonly encrypted: boolean;
}

async function translateColumn(
  client: Client,
  table: ResolvedTable,
  secret: ResolvedSecret,
  withClear: boolean,
  translate: (row: SecretRow) => string | undefined,
): Promise<void> {
  const stage = stageName(table.name);
  const column = quoteIdent(secret.column);
  // Before it was encrypted every value was JSON in clear, whatever it looks like.
  const isToken = secret.fromClear ? 'false' : secretIsToken(secret);
  await client.query(`CREATE TEMPORARY TABLE lifeboat_rekeyed (row tid, value text) ON COMMIT DROP`);
  await client.query(
    `DECLARE lifeboat_secrets NO SCROLL CURSOR FOR
       SELECT ctid::text AS row, ${secretLabel(table, secret)} AS name, ${column} AS value, coalesce(${isToken}, false) AS encrypted
         FROM ${stage} WHERE ${column} <> '' ${withClear ? '' : `AND ${isToken}`}`,
  );
  for (;;) {
    const { rows } = await client.query<SecretRow>(`FETCH ${BATCH} FROM lifeboat_secrets`);
    const changed = rows.flatMap((row) => {
      const value = translate(row);
      return value === undefined ? [] : [{ row: row.row, value }];
    });
    if (changed.length > 0) {
      await client.query(
        `INSERT INTO ${REKEYED} SELECT * FROM ROWS FROM (pg_catalog.unnest($1::tid[]), pg_catalog.unnest($2::text[]))`,
        [changed.map(({ row }) => row), changed.map(({ value }) => value)],
      );
    }
    if (rows.length < BATCH) break;
  }
  await client.query('CLOSE lifeboat_secrets');
  const flag = secret.flag === undefined ? '' : `, ${quoteIdent(secret.flag)} = true`;
  await client.query(
    `UPDATE ${stage} s SET ${column} = r.value${flag} FROM ${REKEYED} r WHERE s.ctid = r.row`,
  );
  await client.query(`DROP TABLE ${REKEYED}`);
}
