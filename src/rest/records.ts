/**
 * Airflow's records as far as programs need their fields by name. Every version has more, and gives them as they are:
 * hence the index.
 */
export interface AirflowVariable {
  readonly key: string;
  /** `***`: Airflow hides it. */
  readonly value: string | null;
  readonly description?: string | null;
  readonly [field: string]: unknown;
}

export interface GivenVariable {
  readonly key: string;
  readonly value: string;
  readonly description?: string | null;
  readonly [field: string]: unknown;
}

export interface AirflowConnection {
  readonly connection_id: string;
  readonly conn_type: string;
  readonly description?: string | null;
  readonly host?: string | null;
  readonly login?: string | null;
  readonly schema?: string | null;
  readonly port?: number | null;
  /** JSON text. */
  readonly extra?: string | null;
  /** 2.x never gives it; of 3.x `***`. */
  readonly password?: string | null;
  readonly [field: string]: unknown;
}

export interface AirflowPool {
  readonly name: string;
  readonly slots: number;
  readonly description?: string | null;
  /** From 2.7 on. */
  readonly include_deferred?: boolean;
  readonly [field: string]: unknown;
}

export interface AirflowDag {
  readonly dag_id: string;
  readonly is_paused: boolean | null;
  readonly [field: string]: unknown;
}

export type DagRunState = 'queued' | 'running' | 'success' | 'failed';

export interface AirflowDagRun {
  readonly dag_id: string;
  readonly dag_run_id: string;
  readonly state: DagRunState;
  /** Null for runs of 3.x that have none. */
  readonly logical_date: string | null;
  readonly conf: unknown;
  readonly note?: string | null;
  readonly [field: string]: unknown;
}

/** A dataset of 2.x, an asset of 3.x. */
export interface AirflowAsset {
  readonly id: number;
  readonly uri: string;
  readonly extra?: unknown;
  readonly [field: string]: unknown;
}

export interface AirflowAssetEvent {
  readonly id: number;
  readonly timestamp: string;
  readonly extra?: unknown;
  readonly [field: string]: unknown;
}
