import type { ConnectionOptions } from 'node:tls';

/** How one connection attempt uses TLS. */
export type TlsAttempt = false | ConnectionOptions;

/**
 * A metadata database, fully resolved: nothing below reads the environment or a file again. `password` is never
 * printed; `name` (host:port/database) is what messages use.
 */
export interface DatabaseTarget {
  readonly kind: 'database';
  readonly name: string;
  /** Host name, or the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  /** Airflow's sql_alchemy_schema; public when unset. */
  readonly schema: string;
  /** Tried in this order, as libpq does for its sslmode: prefer is [TLS, plain], allow is [plain, TLS]. */
  readonly tls: readonly TlsAttempt[];
  readonly connectTimeoutMs: number;
  /** Raw `options` of libpq (-c settings), passed through. */
  readonly options?: string;
  /** libpq's target_session_attrs, where it is more than `any`: what the server must be, checked after sign-in. */
  readonly sessionAttributes?: 'read-write' | 'read-only' | 'primary' | 'standby';
}
