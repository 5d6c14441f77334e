import type { Socket } from 'node:net';
import { Client } from 'pg';
import type { ClientConfig } from 'pg';
import { LifeboatError, toError } from '../errors.ts';
import { dial } from './dial.ts';
import type { DatabaseTarget, TlsAttempt } from './target.ts';

/** What each target_session_attrs demands, as one boolean query. Source: libpq, connectOptions2 and PQconnectPoll. */
const SESSION_CHECKS: Readonly<Record<NonNullable<DatabaseTarget['sessionAttributes']>, string>> = {
  'read-write': "pg_catalog.current_setting('transaction_read_only') = 'off'",
  'read-only': "pg_catalog.current_setting('transaction_read_only') = 'on'",
  primary: 'NOT pg_catalog.pg_is_in_recovery()',
  standby: 'pg_catalog.pg_is_in_recovery()',
};

/**
 * One attempt to connect and sign in. The socket is dialled here and not by pg, which knows neither libpq's sslmodes
 * nor a deadline that spans its phases. Aborting the signal ends it with the signal's reason.
 */
export async function signIn(
  target: DatabaseTarget,
  attempt: TlsAttempt,
  applicationName: string,
  signal: AbortSignal,
): Promise<{ readonly client: Client; readonly socket: Socket }> {
  const socket = await dial(target, attempt, signal);
  const client = new Client(clientConfig(target, socket, applicationName));
  ignoreEnvironment(client, target);
  const onAbort = (): void => void socket.destroy(toError(signal.reason));
  // pg reports a failure after the one that ended connect() as an event; unheard it would end the process.
  const onLateError = (): void => undefined;
  client.on('error', onLateError);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await client.connect();
    await checkSession(client, target);
    client.off('error', onLateError);
    return { client, socket };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function clientConfig(target: DatabaseTarget, socket: Socket, applicationName: string): ClientConfig {
  const config: ClientConfig & { readonly sslnegotiation: string } = {
    host: target.host,
    port: target.port,
    user: target.user,
    database: target.database,
    // A function, since pg replaces a missing password by PGPASSWORD or ~/.pgpass; those were resolved before.
    password: () => {
      if (target.password !== undefined) return target.password;
      throw new LifeboatError(
        'failed',
        `The database ${target.name} asks for a password, and none is known.`,
        {
          next: 'Put it into the URL (percent-encoded), PGPASSWORD or ~/.pgpass (mode 0600).',
        },
      );
    },
    stream: () => dialled(socket),
    ssl: false,
    // Otherwise PGSSLNEGOTIATION of the environment would be read, and refused without TLS of pg's own.
    sslnegotiation: 'postgres',
    application_name: applicationName,
  };
  return config;
}

/** pg wants to connect its socket itself; this one is connected, and only says so. */
function dialled(socket: Socket): Socket {
  return Object.assign(socket, {
    connect: () => {
      queueMicrotask(() => socket.emit('connect'));
      return socket;
    },
  });
}

/** pg falls back to PGOPTIONS where there are no options; the target is what counts. */
function ignoreEnvironment(client: Client, target: DatabaseTarget): void {
  const { connectionParameters } = client as unknown as {
    connectionParameters: { options: string | undefined; replication: string | undefined };
  };
  connectionParameters.options = target.options;
  connectionParameters.replication = undefined;
}

async function checkSession(client: Client, target: DatabaseTarget): Promise<void> {
  const wanted = target.sessionAttributes;
  if (wanted === undefined) return;
  const { rows } = await client.query<{ ok: boolean }>(`SELECT ${SESSION_CHECKS[wanted]} AS ok`);
  if (rows[0]?.ok === true) return;
  throw new LifeboatError(
    'failed',
    `The database ${target.name} is not ${wanted}, as target_session_attrs demands.`,
    {
      next: 'Name the right server, or take target_session_attrs out of the URL.',
    },
  );
}
