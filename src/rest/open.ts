import type { AwsCredentialIdentityProvider } from '@smithy/types';
import { createSigner, defaultCredentials } from '../aws/sigv4.ts';
import type { RestAddress } from './address.ts';
import { type ClientOptions, openClient, type RestClient } from './client.ts';
import { createExchange } from './exchange.ts';
import { createHttpTransport, httpTransport } from './http.ts';
import { createInvokeTransport, MWAA_LIMITS, MWAA_SILENCE_TIMEOUT } from './mwaa.ts';
import type { MwaaPlace } from './mwaa-errors.ts';
import { openWebLogin } from './mwaa-web.ts';
import type { Transport } from './transport.ts';

export interface OpenRestOptions extends Omit<ClientOptions, 'transport'> {
  /** Signatures are dated; absent: by the machine's clock. */
  readonly now?: () => Date;
  /** Of MWAA: whoever else should sign, such as a role of another account. Absent: the SDK's default chain. */
  readonly awsCredentials?: AwsCredentialIdentityProvider;
}

/** Connects to Airflow's API by the way that the address names. The caller closes what it gets. */
export async function openRest(address: RestAddress, options: OpenRestOptions): Promise<RestClient> {
  const transport = await openTransport(address, options);
  try {
    return await openClient({ ...options, transport });
  } catch (error) {
    transport.close();
    throw error;
  }
}

/** The host's suffix of a partition; everywhere else amazonaws.com. */
const CHINA = { prefix: 'cn-', suffix: 'amazonaws.com.cn' };

export function mwaaEndpoint(region: string): URL {
  const suffix = region.startsWith(CHINA.prefix) ? CHINA.suffix : 'amazonaws.com';
  return new URL(`https://env.airflow.${region}.${suffix}`);
}

/** Room around Airflow's own 6 MB for the envelope that they come in. */
const ENVELOPE_BYTES = 1024 * 1024;

async function openTransport(
  address: RestAddress,
  { now, awsCredentials }: OpenRestOptions,
): Promise<Transport> {
  if (address.kind === 'http') return createHttpTransport(address);
  const { environment, region, via, endpoint = mwaaEndpoint(region) } = address;
  const place: MwaaPlace = { environment, region, name: `mwaa://${environment} (${region})` };
  const sign = await createSigner({
    service: 'airflow',
    region,
    credentials: awsCredentials ?? (await defaultCredentials()),
    now,
  });
  if (via === 'invoke') {
    const answerBytes = MWAA_LIMITS.answerBytes + ENVELOPE_BYTES;
    const exchange = await createExchange({ name: place.name, silenceMs: MWAA_SILENCE_TIMEOUT, answerBytes });
    return createInvokeTransport({ place, endpoint, exchange, sign });
  }
  const exchange = await createExchange({ name: place.name });
  try {
    const { origin, authority } = await openWebLogin({ place, endpoint, exchange, sign });
    return httpTransport({ name: place.name, origin, basePath: '', exchange, authority });
  } catch (error) {
    exchange.close();
    throw error;
  }
}
