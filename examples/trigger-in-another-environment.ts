// Triggers a DAG of environment B from anywhere: another environment's task, another account, another region.
//
//   npx tsx examples/trigger-in-another-environment.ts 'mwaa://b?region=eu-central-1' etl '{"day":"2026-11-21"}'
import { openAirflow, type AirflowDagRun, type OpenAirflowOptions } from 'airflow-lifeboat';

export interface Trigger {
  /** Such as mwaa://b?region=eu-central-1, or https://airflow-b.example.com. */
  readonly environment: string;
  readonly dagId: string;
  /** The same id twice is the same run: a caller that is retried does not start a second one. */
  readonly runId: string;
  readonly conf: Readonly<Record<string, unknown>>;
}

/**
 * For a role of another account give `awsCredentials`, such as fromTemporaryCredentials of @aws-sdk/credential-providers:
 * the role is there, in B's account, and trusts the caller's.
 */
export async function triggerElsewhere(
  trigger: Trigger,
  options: OpenAirflowOptions = {},
): Promise<AirflowDagRun> {
  const airflow = await openAirflow(trigger.environment, options);
  try {
    const { dagId, runId, conf } = trigger;
    const existing = await airflow.dagRuns.get(dagId, runId);
    return existing ?? (await airflow.dagRuns.trigger(dagId, { dag_run_id: runId, conf }));
  } finally {
    airflow.close();
  }
}

if (import.meta.url === `file://${process.argv[1] ?? ''}`) {
  const [, , environment = '', dagId = '', conf = '{}'] = process.argv;
  const run = await triggerElsewhere(
    {
      environment,
      dagId,
      runId: `from-elsewhere-${String(Date.now())}`,
      conf: JSON.parse(conf) as Record<string, unknown>,
    },
    { env: process.env },
  );
  console.log(`${run.dag_id} ${run.dag_run_id} is ${run.state}`);
}
