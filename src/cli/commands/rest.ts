import { LifeboatError } from '../../errors.ts';
import type { RestMethod, RestRequest } from '../../rest/transport.ts';
import type { Command, CommandInput, Outcome } from '../command.ts';
import { fileError, readInput } from '../read-input.ts';
import { withRest } from '../rest.ts';

export const restCommand: Command = {
  name: 'rest',
  summary: 'Send one request to Airflow’s REST API, directly or through MWAA',
  details:
    'Sends one request to the stable REST API (v1 of Airflow 2.x, v2 of 3.x) and prints the answer. PATH is what follows /api/v1 or /api/v2. Signs in, waits and tries again as everything else of Lifeboat does; a POST that may have arrived is not sent twice. Through InvokeRestApi PATH has at most 64 characters. What looks like the password of a URL is masked on stdout: --output has the answer as it came. Ends with 1 when Airflow refuses.',
  takesRequest: true,
  uses: ['environment'],
  flags: [
    {
      name: 'query',
      kind: 'list',
      whole: true,
      group: 'Request:',
      describe: 'NAME=VALUE of the query; repeatable, also with the same name',
    },
    {
      name: 'body',
      kind: 'text',
      group: 'Request:',
      describe: 'JSON to send. ps shows it to every user of this machine: secrets belong into --body-file',
    },
    {
      name: 'body-file',
      kind: 'text',
      group: 'Request:',
      describe: 'File with the JSON to send; - is stdin',
    },
    {
      name: 'output',
      kind: 'text',
      group: 'Request:',
      describe: 'File for the answer, instead of stdout; made readable by its owner alone',
    },
  ],
  examples: [
    ['$0 rest GET /dags --query limit=5 --airflow https://airflow.example.com', 'Airflow’s own server'],
    [
      `$0 rest POST /dags/etl/dagRuns --body '{"logical_date":null,"conf":{"day":"2026-11-21"}}' --airflow 'mwaa://prod?region=eu-west-1'`,
      'A run on MWAA',
    ],
  ],
  run,
};

async function run(input: CommandInput): Promise<Outcome> {
  const request = await requestOf(input);
  const output = input.args.text('output');
  const { answer, airflow } = await withRest(input, async (client) => ({
    answer: await client.send(request),
    airflow: client.airflow,
  }));
  const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body, null, 2);
  if (output !== undefined) await save(output, text);
  const shown = output === undefined ? { body: answer.body } : { output };
  return {
    ending: 'done',
    result: { airflow, status: answer.status, ...shown },
    text: () => (output === undefined ? text : `${answer.status}: ${output} has the answer.`),
  };
}

const METHODS: readonly RestMethod[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

async function requestOf(input: CommandInput): Promise<RestRequest> {
  const { method: word = '', path: given = '' } = input.args.request ?? {};
  const method = METHODS.find((one) => one === word.toUpperCase());
  if (method === undefined) {
    throw usage(`${word} is not a method that Airflow knows.`, `Use ${METHODS.join(', ')}.`);
  }
  const [path = '', ...more] = given.split('?');
  if (!path.startsWith('/') || /[\s#]/.test(path)) {
    throw usage('PATH begins with /, and its ids are percent-encoded.', 'Such as /dags/my%20dag/dagRuns.');
  }
  if (more.length > 0) throw usage('PATH has a query.', 'Give it with --query NAME=VALUE.');
  const body = await bodyOf(input);
  const query = queryOf(input.args.list('query') ?? []);
  return {
    method,
    path: path.replace(/^\/api\/v[12](?=\/)/, ''),
    ...(Object.keys(query).length === 0 ? {} : { query }),
    ...(body === undefined ? {} : { body }),
  };
}

function queryOf(pairs: readonly string[]): Record<string, string | readonly string[]> {
  const values = new Map<string, string[]>();
  for (const pair of pairs) {
    const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (name === '') throw usage('--query is not NAME=VALUE.', 'Such as --query limit=5.');
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return Object.fromEntries(
    [...values].map(([name, all]) => [name, all.length === 1 ? (all[0] ?? '') : all]),
  );
}

async function bodyOf({ args, host }: CommandInput): Promise<unknown> {
  const inline = args.text('body');
  const file = args.text('body-file');
  if (inline !== undefined && file !== undefined) {
    throw usage('--body and --body-file are both given.', 'Give one of them.');
  }
  if (inline !== undefined) return parse(inline, '--body');
  return file === undefined
    ? undefined
    : parse(await readInput({ host }, file, '--body-file'), '--body-file');
}

/** No word of the text in the error: it may be a password. */
function parse(text: string, flag: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw usage(`${flag} is not JSON.`, `Such as '{"is_paused":true}', quotes and all.`);
  }
}

async function save(file: string, text: string): Promise<void> {
  const { writeFile } = await import('node:fs/promises');
  try {
    await writeFile(file, `${text}\n`, { mode: 0o600 });
  } catch (thrown) {
    throw fileError('Airflow did what it was asked, and --output cannot be written', thrown);
  }
}

function usage(message: string, next: string): LifeboatError {
  return new LifeboatError('usage', message, { next });
}
