import { LifeboatError } from '../errors.ts';
import type { RestAddress } from '../rest/address.ts';
import type { RestClient } from '../rest/client.ts';
import type { CommandInput } from './command.ts';

/** Whether --airflow or LIFEBOAT_AIRFLOW names an API. */
export async function namesRest(input: CommandInput): Promise<boolean> {
  const { isRestUrl } = await import('../rest/address.ts');
  return isRestUrl(namedUrl(input));
}

function namedUrl({ args, host }: CommandInput): string {
  return args.text('airflow') ?? host.env.LIFEBOAT_AIRFLOW ?? '';
}

/** Connects to the API that --airflow or LIFEBOAT_AIRFLOW names, and closes it whatever happens. */
export async function withRest<T>(
  input: CommandInput,
  work: (client: RestClient, via: 'http' | 'invoke' | 'web') => Promise<T>,
): Promise<T> {
  const { host, report, signal } = input;
  const { isRestUrl, parseRestAddress } = await import('../rest/address.ts');
  const url = namedUrl(input);
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
    return await work(client, address.kind === 'http' ? 'http' : address.via);
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
