// Copies variables from one environment to another: list, get, create, update and delete in a few lines.
//
//   npx tsx examples/copy-variables.ts https://a.example.com 'mwaa://b?region=eu-west-1'
import { openAirflow, type OpenAirflowOptions } from 'airflow-lifeboat';

export interface CopyOutcome {
  readonly created: readonly string[];
  readonly updated: readonly string[];
  readonly deleted: readonly string[];
  /** Airflow hides their values: copying *** would overwrite a secret with three stars. */
  readonly hidden: readonly string[];
}

export async function copyVariables(
  from: string,
  to: string,
  options: OpenAirflowOptions & { readonly deleteOthers?: boolean } = {},
): Promise<CopyOutcome> {
  const { deleteOthers = false, ...open } = options;
  const source = await openAirflow(from, open);
  const target = await openAirflow(to, open).catch((error: unknown) => {
    source.close();
    throw error;
  });
  try {
    const outcome = {
      created: [] as string[],
      updated: [] as string[],
      deleted: [] as string[],
      hidden: [] as string[],
    };
    const wanted = await source.variables.list();
    for (const { key, value, description } of wanted) {
      if (value === null || value.includes('***')) {
        outcome.hidden.push(key);
      } else if ((await target.variables.get(key)) === undefined) {
        await target.variables.create({ key, value, description: description ?? null });
        outcome.created.push(key);
      } else {
        await target.variables.update(key, { value, description: description ?? null });
        outcome.updated.push(key);
      }
    }
    if (!deleteOthers) return outcome;
    const keys = new Set(wanted.map(({ key }) => key));
    for (const { key } of await target.variables.list()) {
      if (!keys.has(key) && (await target.variables.delete(key))) outcome.deleted.push(key);
    }
    return outcome;
  } finally {
    source.close();
    target.close();
  }
}

if (import.meta.url === `file://${process.argv[1] ?? ''}`) {
  const [, , from = '', to = ''] = process.argv;
  console.log(await copyVariables(from, to, { env: process.env }));
}
