import type { RestClient } from './client.ts';
import { RestError } from './errors.ts';
import type { Row } from './pages.ts';

/** One action of v2's bulk PATCH of /variables, /connections, /pools and, from 3.3 on, /dags/~/dagRuns. */
export type BulkAction =
  | {
      readonly action: 'create';
      readonly entities: readonly Row[];
      readonly action_on_existence: 'fail' | 'skip' | 'overwrite';
    }
  | {
      readonly action: 'update';
      readonly entities: readonly Row[];
      readonly action_on_non_existence: 'fail' | 'skip';
    }
  | {
      readonly action: 'delete';
      /** Names; runs as { dag_id, dag_run_id }. */
      readonly entities: readonly (string | Row)[];
      readonly action_on_non_existence: 'fail' | 'skip';
    };

export interface BulkItemError {
  readonly action: BulkAction['action'];
  /** Airflow's words; never the item's value. */
  readonly message: string;
  readonly status: number;
}

export interface BulkOutcome {
  /** Names that were written, or deleted. */
  readonly done: Readonly<Record<BulkAction['action'], readonly string[]>>;
  readonly errors: readonly BulkItemError[];
}

/**
 * Several actions in one request. Airflow answers 200 whatever became of the single items, and says it in the body: who
 * does not look at `errors` takes a failure for a success.
 */
export async function sendBulk(
  client: RestClient,
  path: string,
  actions: readonly BulkAction[],
): Promise<BulkOutcome> {
  const { body } = await client.send({ method: 'PATCH', path, body: { actions } });
  const answer = fieldsOf(body);
  const of = (action: BulkAction['action']): Readonly<Record<string, unknown>> => fieldsOf(answer[action]);
  const done = (action: BulkAction['action']): readonly string[] => stringsOf(of(action).success);
  return {
    done: { create: done('create'), update: done('update'), delete: done('delete') },
    errors: (['create', 'update', 'delete'] as const).flatMap((action) =>
      errorsOf(action, of(action).errors),
    ),
  };
}

export function bulkError(client: RestClient, path: string, error: BulkItemError): RestError {
  return new RestError(`${client.name} did not ${error.action} in ${path}: ${error.message}`, {
    code: 'answer',
    status: error.status,
  });
}

function errorsOf(action: BulkAction['action'], errors: unknown): readonly BulkItemError[] {
  if (!Array.isArray(errors)) return [];
  return errors.map((entry) => {
    const { error, detail, status_code: status } = fieldsOf(entry);
    const message = [error, detail].find((words): words is string => typeof words === 'string');
    return {
      action,
      message: message ?? 'without a reason.',
      status: typeof status === 'number' ? status : 0,
    };
  });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
