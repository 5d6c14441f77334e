import { LifeboatError, toError } from '../errors.ts';
import { DialError } from './dial.ts';
import { describeDatabaseError, isDatabaseError } from './sqlstate.ts';
import type { DatabaseTarget } from './target.ts';

interface Advice {
  readonly says: string;
  readonly next: string;
}

const REACH = 'Check host and port of the URL, the network between here and there, and its security groups.';

/** Codes of Node's network layer (libuv), as a sentence after the name of the database. */
const NETWORK_CODES: Readonly<Record<string, Advice>> = {
  ECONNREFUSED: {
    says: 'nothing listens there',
    next: 'Check host and port of the URL, and that the server runs.',
  },
  ENOTFOUND: {
    says: 'the host name is not known',
    next: 'Check the host of the URL, and that its DNS zone is seen from here.',
  },
  EAI_AGAIN: {
    says: 'the host name could not be looked up',
    next: 'Check the name server of this machine, then try again.',
  },
  ETIMEDOUT: { says: 'it does not answer', next: REACH },
  EHOSTUNREACH: { says: 'there is no route to it', next: REACH },
  ENETUNREACH: { says: 'there is no route to it', next: REACH },
  ECONNRESET: {
    says: 'the other side reset the connection',
    next: 'Check that the port is that of Postgres, and what a proxy in front of it says.',
  },
  ENOENT: {
    says: 'there is no socket file',
    next: 'Check the directory and the port, and that the server runs.',
  },
  EACCES: { says: 'its socket may not be used', next: 'Check the permissions of the socket directory.' },
  EMFILE: { says: 'this process has no free file descriptor', next: 'Raise ulimit -n, or lower --jobs.' },
};

const NEW_ROOT = 'Check sslrootcert (RDS: the bundle from AWS for its region), or lower sslmode if you must.';

/** Codes of OpenSSL's verification. */
const CERTIFICATE_CODES: Readonly<Record<string, Advice>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: {
    says: "the server's certificate is self-signed and not trusted",
    next: NEW_ROOT,
  },
  SELF_SIGNED_CERT_IN_CHAIN: {
    says: "the server's certificate comes from an unknown authority",
    next: NEW_ROOT,
  },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
    says: "the server's certificate comes from an unknown authority",
    next: NEW_ROOT,
  },
  UNABLE_TO_GET_ISSUER_CERT: {
    says: "the server's certificate comes from an unknown authority",
    next: NEW_ROOT,
  },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: {
    says: "the server's certificate comes from an unknown authority",
    next: NEW_ROOT,
  },
  CERT_HAS_EXPIRED: { says: "the server's certificate has expired", next: 'Renew it on the server.' },
  CERT_NOT_YET_VALID: {
    says: "the server's certificate is not valid yet",
    next: 'Check the clock of this machine.',
  },
  CERT_REVOKED: { says: "the server's certificate was revoked", next: 'Renew it on the server.' },
  CERT_SIGNATURE_FAILURE: {
    says: "the server's certificate was not signed by the given authority",
    next: NEW_ROOT,
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    says: "the server's certificate is for another host name",
    next: 'Use the name that is in the certificate, or sslmode=verify-ca, which does not look at the name.',
  },
};

/** libpq falls back to the other of TLS and plain when TLS was refused or failed, or the server refused this user. */
export function mayTryOtherwise(error: unknown): boolean {
  if (error instanceof DialError) return error.phase === 'no-tls' || error.phase === 'handshake';
  return isDatabaseError(error) && (error.code ?? '').startsWith('28');
}

/** A connection that could not be made, for people. LifeboatErrors (a deadline, an abort) come back as they are. */
export function describeConnectError(error: unknown, target: DatabaseTarget): LifeboatError {
  if (error instanceof LifeboatError) return error;
  if (isDatabaseError(error)) {
    const described = describeDatabaseError(error, target.name);
    if (described instanceof LifeboatError) return described;
  }
  const advice = error instanceof DialError ? adviseOnDial(error) : adviseOnSignIn(toError(error));
  return new LifeboatError('failed', `The database ${target.name} cannot be reached: ${advice.says}.`, {
    next: advice.next,
    details: { database: target.name },
    cause: error,
  });
}

/** No connection within the time for it. */
export function connectTimeout(target: DatabaseTarget): LifeboatError {
  const seconds = Math.round(target.connectTimeoutMs / 1000);
  return new LifeboatError(
    'failed',
    `The database ${target.name} cannot be reached: no answer within ${seconds} s.`,
    { next: `${REACH} connect_timeout in the URL changes the wait.`, details: { database: target.name } },
  );
}

function adviseOnDial(error: DialError): Advice {
  const code = error.code ?? '';
  switch (error.phase) {
    case 'connect':
      return NETWORK_CODES[code] ?? { says: `the network says ${code || 'no'}`, next: REACH };
    case 'no-tls':
      return {
        says: 'it does not offer TLS, and sslmode demands it',
        next: 'Turn TLS on in the server, or lower sslmode if the network is to be trusted.',
      };
    case 'negotiate':
      return {
        says: 'it does not answer as Postgres does',
        next: 'Check that the port is that of Postgres, and not of a web server or an SSH tunnel that ended.',
      };
    case 'handshake':
      return (
        CERTIFICATE_CODES[code] ?? {
          says: `TLS could not be agreed on${code === '' ? '' : ` (${code})`}`,
          next: 'Check sslcert, sslkey, sslpassword and the TLS versions that the server allows.',
        }
      );
  }
}

function adviseOnSignIn(error: Error): Advice {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // The driver's own words about SCRAM name its steps, never a password.
  if (error.message.startsWith('SASL')) {
    return {
      says: `signing in failed (${error.message})`,
      next: 'Check the password, and whether a proxy changes it.',
    };
  }
  return (
    NETWORK_CODES[code] ?? {
      says: 'the other side closed the connection during sign-in',
      next: 'Check that the port is that of Postgres, and the log of the server.',
    }
  );
}
