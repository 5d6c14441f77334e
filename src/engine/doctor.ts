import type { Client } from 'pg';
import { quoteIdent } from '../db/introspect.ts';
import type { DatabaseTarget } from '../db/target.ts';
import { LifeboatError, toError } from '../errors.ts';
import { probeStorage } from '../storage/probe.ts';
import type { Storage } from '../storage/storage.ts';
import type { DoctorCheck, DoctorRequest, EngineContext } from './api.ts';
import { detectEnvironment } from './detect.ts';
import type { DetectedEnvironment } from './detect.ts';
import { readListing, resolveBackup } from './catalog.ts';
import type { Manifest } from './manifest.ts';
import { KEEP_THE_KEY, recoverability } from './sealed/advice.ts';
import { beginReading, withSession } from './session.ts';
import { findUnreadableSecrets } from './unreadable.ts';

export type DoctorContext = Pick<EngineContext, 'report' | 'signal' | 'now' | 'origin'> & {
  readonly storage?: Storage;
};

const NAMES_SHOWN = 10;

/** Looks at everything a backup and a restore need, changes nothing that stays, and says what to fix. */
export async function doctor(
  ctx: DoctorContext,
  request: DoctorRequest,
): Promise<{ readonly checks: readonly DoctorCheck[] }> {
  const checks: DoctorCheck[] = [];
  if (request.environment) {
    checks.push(...(await checkDatabase(ctx, request.environment, request.fernetKeys)));
  }
  const stored = ctx.storage && request.checkStorage ? await checkStorage(ctx.storage, ctx.signal) : [];
  const newest = ctx.storage && request.checkStorage ? await newestSecrets(ctx, ctx.storage) : undefined;
  const recovery = request.environment || newest ? [checkRecovery(request, newest)] : [];
  return { checks: [...checks, ...recovery, ...stored] };
}

async function checkDatabase(
  ctx: DoctorContext,
  environment: DatabaseTarget,
  keys: readonly string[],
): Promise<readonly DoctorCheck[]> {
  try {
    return await withSession(ctx, environment, { purpose: 'doctor', begin: beginReading }, async (client) => {
      const connected: DoctorCheck = { check: 'connection', status: 'ok', found: environment.name };
      try {
        const detected = await detectEnvironment(client, environment);
        return [
          connected,
          ...describeAirflow(detected),
          ...describeRights(detected),
          await checkTemporary(client),
          ...(await checkSecrets(client, detected, keys)),
        ];
      } catch (error) {
        if (error instanceof LifeboatError && error.kind === 'unsupported') {
          return [connected, failed('version', error)];
        }
        throw error;
      }
    });
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    return [failed('connection', toError(error))];
  }
}

function failed(check: string, error: Error): DoctorCheck {
  const next = error instanceof LifeboatError ? error.next : undefined;
  const problems = error instanceof LifeboatError ? error.details.problems : undefined;
  const listed = Array.isArray(problems) ? ` All of it: ${problems.join('; ')}.` : '';
  return { check, status: 'failed', found: error.message + listed, fix: next ?? 'See the message.' };
}

function describeAirflow(detected: DetectedEnvironment): readonly DoctorCheck[] {
  const { facts, release, driftNotes } = detected;
  return [
    {
      check: 'version',
      status: 'ok',
      found: `Airflow ${release.releases} (head ${facts.alembicHead}) on PostgreSQL ${facts.postgres}`,
    },
    driftNotes.length === 0
      ? { check: 'schema', status: 'ok', found: 'all tables and columns are as expected' }
      : {
          check: 'schema',
          status: 'warning',
          found: driftNotes.join('; '),
          fix: 'Nothing has to be done: these columns are not Airflow’s and are not backed up.',
        },
    facts.schedulerHeartbeat === null
      ? { check: 'scheduler', status: 'ok', found: 'no scheduler has run here yet' }
      : { check: 'scheduler', status: 'ok', found: `last heartbeat ${facts.schedulerHeartbeat}` },
  ];
}

function describeRights(detected: DetectedEnvironment): readonly DoctorCheck[] {
  const tables = detected.tables.map((table) => ({ table, live: detected.live.tables.get(table.name) }));
  const unreadable = tables.filter(({ live }) => live?.mayRead !== true).map(({ table }) => table.name);
  const written = tables.filter(({ table }) => table.restore.kind !== 'lookup');
  const unwritable = written.filter(({ live }) => live?.mayWrite !== true).map(({ table }) => table.name);
  const slow = written.filter(
    ({ table, live }) => table.restore.kind === 'history' && live?.mayTruncate !== true,
  );
  return [
    unreadable.length === 0
      ? { check: 'right to back up', status: 'ok', found: `SELECT on all ${tables.length} tables` }
      : {
          check: 'right to back up',
          status: 'failed',
          found: `no SELECT on ${unreadable.join(', ')}`,
          fix: `GRANT SELECT ON ALL TABLES IN SCHEMA ${quoteIdent(detected.live.schema)} TO the user of --airflow.`,
        },
    unwritable.length > 0
      ? {
          check: 'right to restore',
          status: 'warning',
          found: `no INSERT, UPDATE and DELETE on ${unwritable.join(', ')}`,
          fix: 'Enough for backups. A restore here needs the user that Airflow itself uses.',
        }
      : slow.length > 0
        ? {
            check: 'right to restore',
            status: 'warning',
            found: `no TRUNCATE on ${slow.map(({ table }) => table.name).join(', ')}`,
            fix: 'A restore works, but --clean deletes row by row. Restore as the owner of the tables.',
          }
        : { check: 'right to restore', status: 'ok', found: 'all tables may be written and truncated' },
  ];
}

async function checkTemporary(client: Client): Promise<DoctorCheck> {
  const result = await client.query<{ may: boolean }>(
    "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY') AS may",
  );
  return result.rows[0]?.may === true
    ? { check: 'temporary tables', status: 'ok', found: 'allowed' }
    : {
        check: 'temporary tables',
        status: 'warning',
        found: 'not allowed in this database',
        fix: 'A restore here needs GRANT TEMPORARY ON DATABASE … TO the user of --airflow.',
      };
}

async function checkSecrets(
  client: Client,
  detected: DetectedEnvironment,
  keys: readonly string[],
): Promise<readonly DoctorCheck[]> {
  if (keys.length === 0) return [];
  const tables = detected.tables.filter((table) => table.secrets.length > 0);
  const names = await findUnreadableSecrets(client, detected.live.schema, tables, keys);
  if (names.length === 0) {
    return [{ check: 'secrets', status: 'ok', found: 'the Fernet key reads every encrypted value' }];
  }
  const shown =
    names.slice(0, NAMES_SHOWN).join(', ') +
    (names.length > NAMES_SHOWN ? `, and ${names.length - NAMES_SHOWN} more` : '');
  return [
    {
      check: 'secrets',
      status: 'warning',
      found: `the Fernet key does not read ${names.length} of the encrypted values: ${shown}`,
      fix: 'Add the older key to the list (LIFEBOAT_FERNET_KEY=new,old), or set these values anew in Airflow.',
    },
  ];
}

/** What the secrets of a backup are worth when this environment is gone and cannot lend its key any more. */
function checkRecovery(
  { fernetKeys, fernetKeysLent = false }: DoctorRequest,
  newest: Manifest['secrets'] | undefined,
): DoctorCheck {
  const check = 'secrets elsewhere';
  if (newest && newest.mode !== 'ciphertext') {
    const { mode, recipients = [] } = newest;
    const { says } = recoverability({ mode, recipients, keys: [], lent: false, tokens: undefined });
    return { check, status: 'ok', found: `of the newest backup: ${says}` };
  }
  const { recoverableWith, says } = recoverability({
    mode: 'ciphertext',
    recipients: [],
    keys: fernetKeys,
    lent: fernetKeysLent,
    tokens: undefined,
  });
  if (recoverableWith !== 'none') return { check, status: 'ok', found: says };
  return { check, status: 'warning', found: says, fix: KEEP_THE_KEY };
}

async function newestSecrets(ctx: DoctorContext, storage: Storage): Promise<Manifest['secrets'] | undefined> {
  try {
    return (await resolveBackup({ ...ctx, storage }, 'latest')).manifest.secrets;
  } catch (error) {
    // None yet, or one that cannot be read: list and verify tell that. What stops the storage is told by its own check.
    if (error instanceof LifeboatError && !ctx.signal.aborted) return undefined;
    throw error;
  }
}

async function checkStorage(storage: Storage, signal: AbortSignal): Promise<readonly DoctorCheck[]> {
  const probes = (await probeStorage(storage, { signal })).map(({ check, ok, detail, fix }): DoctorCheck => ({
    check: `storage: ${check}`,
    status: ok ? 'ok' : 'failed',
    found: detail,
    ...(fix === undefined ? {} : { fix }),
  }));
  if (probes.some((probe) => probe.status === 'failed')) return probes;
  const listing = await readListing(storage, signal);
  return [
    ...probes,
    {
      check: 'backups',
      status: 'ok',
      found: `${listing.complete.length} complete${listing.incomplete.length === 0 ? '' : `, ${listing.incomplete.length} without a manifest (under way, or debris that prune removes)`}`,
    },
  ];
}
