// Lists the failed runs of some DAGs, leaves a note on each, and clears them so that they run again.
//
//   npx tsx examples/clear-failed-runs.ts https://airflow.example.com etl report
import { openAirflow, type OpenAirflowOptions } from 'airflow-lifeboat';

/** The runs that were cleared, as dag_id/run_id. */
export async function clearFailedRuns(
  environment: string,
  dagIds: readonly string[],
  note: string,
  options: OpenAirflowOptions = {},
): Promise<readonly string[]> {
  const airflow = await openAirflow(environment, options);
  try {
    const cleared: string[] = [];
    // Listed to the end first: a run that is cleared leaves the list of the failed.
    for (const { dag_id: dagId, dag_run_id: runId } of await airflow.dagRuns.list({
      dagIds,
      states: ['failed'],
    })) {
      await airflow.dagRuns.patch(dagId, runId, { note });
      await airflow.dagRuns.clear(dagId, runId);
      cleared.push(`${dagId}/${runId}`);
    }
    return cleared;
  } finally {
    airflow.close();
  }
}

if (import.meta.url === `file://${process.argv[1] ?? ''}`) {
  const [, , environment = '', ...dagIds] = process.argv;
  console.log(await clearFailedRuns(environment, dagIds, 'Cleared after the outage.', { env: process.env }));
}
