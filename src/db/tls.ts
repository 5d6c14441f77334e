import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkServerIdentity, rootCertificates } from 'node:tls';
import type { ConnectionOptions, SecureVersion } from 'node:tls';
import { LifeboatError } from '../errors.ts';
import { firstGiven } from './given.ts';
import type { TlsAttempt } from './target.ts';

const SSL_MODES: readonly SslMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];
export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

type Parameters = ReadonlyMap<string, string>;
type Environment = Readonly<Record<string, string | undefined>>;

const TLS_VERSIONS: Readonly<Record<string, SecureVersion>> = {
  TLSv1: 'TLSv1',
  'TLSv1.1': 'TLSv1.1',
  'TLSv1.2': 'TLSv1.2',
  'TLSv1.3': 'TLSv1.3',
};

/**
 * libpq's sslmode as the attempts to make, in order. Node's `pg` reads `require` as verify-full, which no RDS or MWAA
 * database passes without its root certificate; here a mode verifies exactly what it verifies in libpq:
 *
 * | mode | attempts | checks |
 * |---|---|---|
 * | disable | plain | |
 * | allow / prefer / require | plain, TLS / TLS, plain / TLS | nothing; the chain if there is a root certificate |
 * | verify-ca | TLS | the chain |
 * | verify-full | TLS | the chain and the host name |
 *
 * A root certificate is `sslrootcert`, PGSSLROOTCERT, or ~/.postgresql/root.crt where that exists.
 */
export function tlsAttempts(
  parameters: Parameters,
  hostName: string,
  env: Environment,
): readonly TlsAttempt[] {
  const mode = sslMode(parameters, env);
  // libpq uses no TLS on Unix sockets, whatever sslmode says.
  if (mode === 'disable' || hostName.startsWith('/')) return [false];
  const encrypted: ConnectionOptions = {
    ...verification(mode, parameters, hostName, env),
    ...clientCertificate(parameters, env),
    ...protocolVersions(parameters),
    // Without SNI servername must be the empty string: undefined would let Node fall back to the host.
    servername: parameters.get('sslsni') === '0' ? '' : serverName(hostName),
  };
  if (mode === 'allow') return [false, encrypted];
  return mode === 'prefer' ? [encrypted, false] : [encrypted];
}

function sslMode(parameters: Parameters, env: Environment): SslMode {
  const system = rootCertificateName(parameters, env) === 'system';
  const text = parameters.get('sslmode') ?? firstGiven(env.PGSSLMODE) ?? (system ? 'verify-full' : 'prefer');
  const mode = SSL_MODES.find((known) => known === text);
  if (mode === undefined) {
    throw new LifeboatError('usage', 'The sslmode of the database URL (or PGSSLMODE) is not one of libpq.', {
      next: `Use one of ${SSL_MODES.join(', ')}.`,
    });
  }
  if (system && mode !== 'verify-full') {
    throw new LifeboatError('usage', `sslrootcert=system cannot be used with the weaker sslmode ${mode}.`, {
      next: 'Use sslmode=verify-full, as libpq demands, or name a root certificate file.',
    });
  }
  return mode;
}

function verification(
  mode: SslMode,
  parameters: Parameters,
  hostName: string,
  env: Environment,
): ConnectionOptions {
  const ca = trustedRoots(mode, parameters, env);
  if (ca === undefined) return { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  const crl = revocationList(parameters, env);
  return {
    ca: [...ca],
    ...(crl === undefined ? {} : { crl }),
    rejectUnauthorized: true,
    checkServerIdentity:
      mode === 'verify-full'
        ? (_name, certificate) => checkServerIdentity(hostName, certificate)
        : () => undefined,
  };
}

function rootCertificateName(parameters: Parameters, env: Environment): string | undefined {
  return firstGiven(parameters.get('sslrootcert'), env.PGSSLROOTCERT);
}

function trustedRoots(
  mode: SslMode,
  parameters: Parameters,
  env: Environment,
): readonly string[] | undefined {
  const named = rootCertificateName(parameters, env);
  if (named === 'system') {
    const extra = env.SSL_CERT_FILE ? [readNamed(env.SSL_CERT_FILE, 'SSL_CERT_FILE')] : [];
    return [...rootCertificates, ...extra];
  }
  if (named !== undefined) return [readNamed(expandHome(named, env), 'sslrootcert')];
  const found = readDefault('root.crt', env);
  if (found !== undefined) return [found];
  if (mode !== 'verify-ca' && mode !== 'verify-full') return undefined;
  throw new LifeboatError('usage', `sslmode=${mode} needs a root certificate, and none was given.`, {
    next: 'Add sslrootcert=FILE (for RDS the bundle from AWS), or sslrootcert=system with sslmode=verify-full.',
  });
}

function revocationList(parameters: Parameters, env: Environment): string | undefined {
  const named = parameters.get('sslcrl');
  return named ? readNamed(expandHome(named, env), 'sslcrl') : readDefault('root.crl', env);
}

function clientCertificate(parameters: Parameters, env: Environment): ConnectionOptions {
  if (parameters.get('sslcertmode') === 'disable') return {};
  const named = parameters.get('sslcert');
  const cert = named ? readNamed(expandHome(named, env), 'sslcert') : readDefault('postgresql.crt', env);
  if (cert === undefined) return {};
  const keyFile = parameters.get('sslkey');
  const key = keyFile
    ? readNamed(expandHome(keyFile, env), 'sslkey', true)
    : readDefault('postgresql.key', env, true);
  if (key === undefined) {
    throw new LifeboatError('usage', 'There is a client certificate (sslcert), and no private key for it.', {
      next: 'Name the key with sslkey=FILE.',
    });
  }
  const passphrase = parameters.get('sslpassword');
  return { cert, key, ...(passphrase ? { passphrase } : {}) };
}

function protocolVersions(parameters: Parameters): ConnectionOptions {
  const version = (name: string): SecureVersion | undefined => {
    const text = parameters.get(name);
    if (!text) return undefined;
    const known = TLS_VERSIONS[text];
    if (known !== undefined) return known;
    throw new LifeboatError('usage', `${name} in the database URL is not a TLS version.`, {
      next: `Use one of ${Object.keys(TLS_VERSIONS).join(', ')}.`,
    });
  };
  const minVersion = version('ssl_min_protocol_version') ?? 'TLSv1.2';
  const maxVersion = version('ssl_max_protocol_version');
  return { minVersion, ...(maxVersion === undefined ? {} : { maxVersion }) };
}

/** TLS knows no addresses as server names (RFC 6066). */
function serverName(hostName: string): string {
  return /^[\d.]+$|:/.test(hostName) ? '' : hostName;
}

// --- files ---

function readNamed(file: string, parameter: string, secret = false): string {
  try {
    if (secret) refuseSharedKey(file);
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof LifeboatError) throw error;
    // libpq goes on without a root certificate that it was told of and cannot find; that would lose the check unseen.
    throw new LifeboatError('usage', `The file ${file} of ${parameter} cannot be read.`, {
      next: 'Check the path and its permissions; a relative path starts at the working directory.',
      cause: error,
    });
  }
}

/** A file of ~/.postgresql, or undefined where there is none. */
function readDefault(name: string, env: Environment, secret = false): string | undefined {
  const home = env.HOME;
  if (!home) return undefined;
  const file = join(home, '.postgresql', name);
  if (statSync(file, { throwIfNoEntry: false }) === undefined) return undefined;
  return readNamed(file, name, secret);
}

/** libpq refuses a private key that others can read: 0600, or 0640 when root owns it. */
function refuseSharedKey(file: string): void {
  const { mode, uid } = statSync(file);
  if ((mode & (uid === 0 ? 0o037 : 0o077)) === 0) return;
  throw new LifeboatError('usage', `The private key ${file} can be read by others.`, {
    next: `Run: chmod 0600 ${file}`,
  });
}

function expandHome(file: string, env: Environment): string {
  return file.startsWith('~/') ? join(env.HOME ?? homedir(), file.slice(2)) : file;
}
