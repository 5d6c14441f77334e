import type { RestClient } from './client.ts';
import { isRestError } from './errors.ts';
import type { ListOptions } from './named.ts';
import { fits, getOne, deleteOne, unreachable } from './one.ts';
import { pages, type Page, type Row } from './pages.ts';
import { restPath } from './path.ts';
import type { AirflowDagRun, DagRunState } from './records.ts';
import type { RestRequest } from './transport.ts';

export interface GivenRun {
  /** Absent: Airflow makes one. With it a try whose answer was lost is not repeated blindly. */
  readonly dag_run_id?: string;
  readonly conf?: Readonly<Record<string, unknown>>;
  /** ISO 8601. */
  readonly logical_date?: string | null;
  readonly data_interval_start?: string;
  readonly data_interval_end?: string;
  readonly note?: string;
  readonly [field: string]: unknown;
}

export interface RunFilter extends ListOptions {
  readonly dagIds?: readonly string[];
  readonly states?: readonly DagRunState[];
  /** Further fields of the batch form, such as start_date_gte. */
  readonly form?: Row;
}

export interface DagRuns {
  /** Starts a run; while its DAG is paused it stays queued. */
  trigger(dagId: string, given?: GivenRun): Promise<AirflowDagRun>;
  get(dagId: string, runId: string): Promise<AirflowDagRun | undefined>;
  list(filter?: RunFilter): Promise<readonly AirflowDagRun[]>;
  pages(filter?: RunFilter): AsyncGenerator<Page, void, undefined>;
  /** Airflow takes success, failed and queued; its tasks follow. */
  patch(
    dagId: string,
    runId: string,
    change: RunChange,
    query?: RestRequest['query'],
  ): Promise<AirflowDagRun>;
  /** Its tasks run again. */
  clear(dagId: string, runId: string, options?: { readonly dryRun?: boolean }): Promise<unknown>;
  delete(dagId: string, runId: string): Promise<boolean>;
}

export interface RunChange {
  readonly state?: Exclude<DagRunState, 'running'>;
  readonly note?: string;
}

export function createDagRuns(client: RestClient): DagRuns {
  const { lists, logicalDateNeeded, runNote } = client.dialect;
  const one = (dagId: string, runId: string, rest = ''): string =>
    restPath(`/dags/{dagId}/dagRuns/{runId}${rest}`, { dagId, runId });

  /** In the body the filters are as long as they like, and the path is short. */
  function runPages({ dagIds, states, form, query }: RunFilter = {}): AsyncGenerator<Page, void, undefined> {
    return pages(client, {
      ...lists.dagRuns,
      path: `${lists.dagRuns.path}/list`,
      ...(query === undefined ? {} : { query }),
      form: {
        ...(dagIds === undefined ? {} : { dag_ids: dagIds }),
        ...(states === undefined ? {} : { states }),
        ...form,
      },
    });
  }

  async function get(dagId: string, runId: string): Promise<AirflowDagRun | undefined> {
    const path = one(dagId, runId);
    if (!fits(client, path)) {
      for await (const { rows } of runPages({ dagIds: [dagId] })) {
        const found = rows.find((row) => row.dag_run_id === runId);
        if (found !== undefined) return found as AirflowDagRun;
      }
      return undefined;
    }
    return (await getOne(client, path)) as AirflowDagRun | undefined;
  }

  async function send(request: RestRequest): Promise<unknown> {
    if (!fits(client, request.path)) throw unreachable(client, request.path);
    return (await client.send(request)).body;
  }

  async function trigger(dagId: string, given: GivenRun = {}): Promise<AirflowDagRun> {
    const path = restPath('/dags/{dagId}/dagRuns', { dagId });
    const body = logicalDateNeeded ? { logical_date: null, ...given } : given;
    const post = async (): Promise<AirflowDagRun> =>
      (await send({ method: 'POST', path, body })) as AirflowDagRun;
    try {
      return await post();
    } catch (thrown) {
      // It may have arrived: with an id one can look, and without one nobody knows which run it is.
      const unknown = isRestError(thrown) && thrown.transient;
      if (!unknown || given.dag_run_id === undefined) throw thrown;
      return (await get(dagId, given.dag_run_id)) ?? post();
    }
  }

  const patch: DagRuns['patch'] = async (dagId, runId, { state, note }, query) => {
    const path = one(dagId, runId);
    const asked = query === undefined ? {} : { query };
    if (runNote === 'field') {
      const body = { ...(state === undefined ? {} : { state }), ...(note === undefined ? {} : { note }) };
      return (await send({ method: 'PATCH', path, ...asked, body })) as AirflowDagRun;
    }
    let run: unknown;
    if (state !== undefined) run = await send({ method: 'PATCH', path, ...asked, body: { state } });
    if (note !== undefined) run = await send({ method: 'PATCH', path: `${path}/setNote`, body: { note } });
    return run as AirflowDagRun;
  };

  return {
    trigger,
    get,
    async list(filter) {
      const runs: AirflowDagRun[] = [];
      for await (const { rows } of runPages(filter)) runs.push(...(rows as readonly AirflowDagRun[]));
      return runs;
    },
    pages: runPages,
    patch,
    clear: (dagId, runId, { dryRun = false } = {}) =>
      // Cleared twice, what has begun again in between is stopped and begun once more.
      send({
        method: 'POST',
        path: one(dagId, runId, '/clear'),
        body: { dry_run: dryRun },
        repeatable: dryRun,
      }),
    async delete(dagId, runId) {
      const path = one(dagId, runId);
      if (!fits(client, path)) throw unreachable(client, path);
      return deleteOne(client, path);
    },
  };
}
