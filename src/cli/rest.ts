import { LifeboatError } from '../errors.ts';
import type { RestAddress } from '../rest/address.ts';
import type { RestClient } from '../rest/client.ts';
import type { CommandInput } from './command.ts';

/** Connects to the API that --airflow or LIFEBOAT_AIRFLOW names, and closes it whatever happens. */
export async function withRest<T>(input: CommandInput, work: (client: RestClient) => Promise<T>): Promise<T> {
  const { args, host, report, signal } = input;
  const { isRestUrl, parseRestAddress } = await import('../rest/address.ts');
  const url = args.text('airflow') ?? host.env.LIFEBOAT_AIRFLOW ?? '';
  if (!isRestUrl(url)) {
    throw new LifeboatError(
      'usage',
      url === '' ? 'No Airflow environment is named.' : 'The environment is not one with a REST API.',
      {
        next: 'Give --airflow https://airflow.example.com or mwaa://NAME?region=REGION, or set LIFEBOAT_AIRFLOW.',
      },
    );
  }
  const address = parseRestAddress(url, host.env);
  if (address.kind === 'http' && sentInClear(address)) report(CLEARTEXT);
  const { openRest } = await import('../rest/open.ts');
  const client = await openRest(address, {
    signal,
    now: host.now,
    onRetry: (error, pauseMs) => {
      const seconds = (pauseMs / 1000).toFixed(1);
      report({ event: 'warning', code: 'rest-retry', message: `${error.message} Again in ${seconds} s.` });
    },
  });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

const CLEARTEXT = {
  event: 'warning',
  code: 'rest-cleartext',
  message: 'Credentials go over plain http://, where everybody on the way can read them.',
  next: 'Use https://, or a tunnel that ends on this machine.',
} as const;

function sentInClear({ url, credentials }: Extract<RestAddress, { kind: 'http' }>): boolean {
  const here = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return url.protocol === 'http:' && credentials.kind !== 'none' && !here;
}
