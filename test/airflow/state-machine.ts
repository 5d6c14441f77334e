import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateStateMachineCommand,
  DescribeExecutionCommand,
  SendTaskHeartbeatCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { freePort } from '../helpers/free-port.ts';
import { installMoto } from './moto.ts';
import { until } from './until.ts';

/** As versitygw has it: clients of both have one environment. */
const REGION = 'us-east-1';
const START_TIMEOUT_MS = 60_000;

/** A state of a real state machine that waits for its token. */
export interface Waiting {
  readonly token: string;
  /** For the time until somebody else beats. */
  heartbeat(): Promise<void>;
  /** Status of the execution, and what it ended with. */
  ended(): Promise<{ readonly status: string; readonly output: Readonly<Record<string, unknown>> }>;
}

export interface Emulator {
  readonly url: string;
  /** Variables for a process that shall use it. */
  readonly env: Readonly<Record<string, string>>;
  /** Starts an execution, and waits until its state has handed out the token. */
  execute(heartbeatSeconds: number): Promise<Waiting>;
  close(): Promise<void>;
}

/**
 * Step Functions and a queue as moto (https://docs.getmoto.org) has them, in a virtual environment of its own. What it
 * does otherwise than AWS: the error of a missing heartbeat is States.Timeout, and the cause of a failure is dropped.
 */
export async function startEmulator(): Promise<Emulator> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(await installMoto(), ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  const exited = once(server, 'exit');
  process.once('exit', () => server.kill('SIGKILL'));
  await untilAnswers(`${url}/moto-api/data.json`);
  const config = { stepfunctions: { execute_state_machine: true }, lambda: { use_docker: false } };
  await fetch(`${url}/moto-api/config`, { method: 'POST', body: JSON.stringify(config) });
  const env = {
    AWS_ENDPOINT_URL_SFN: url,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test-secret-access-key',
  };
  const client = new SFNClient({
    endpoint: url,
    region: REGION,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const queue = await sqs(url, 'CreateQueue', { QueueName: 'dr' });
  const queueUrl = String(queue.QueueUrl);
  let count = 0;
  return {
    url,
    env,
    execute: async (heartbeatSeconds) => {
      count += 1;
      const machine = await client.send(
        new CreateStateMachineCommand({
          name: `dr-${count}`,
          roleArn: 'arn:aws:iam::123456789012:role/dr',
          definition: JSON.stringify(definition(queueUrl, heartbeatSeconds)),
        }),
      );
      const { executionArn } = await client.send(
        new StartExecutionCommand({ stateMachineArn: machine.stateMachineArn, input: '{}' }),
      );
      const token = await receiveToken(url, queueUrl);
      return {
        token,
        heartbeat: async () => {
          await client.send(new SendTaskHeartbeatCommand({ taskToken: token }));
        },
        ended: async () => {
          let found = { status: 'RUNNING', output: {} as Record<string, unknown> };
          await until('the execution has ended', async () => {
            const { status = '', output } = await client.send(new DescribeExecutionCommand({ executionArn }));
            found = { status, output: JSON.parse(output ?? '{}') as Record<string, unknown> };
            return status === 'RUNNING' ? [status] : [];
          });
          return found;
        },
      };
    },
    close: async () => {
      client.destroy();
      server.kill('SIGKILL');
      await exited;
    },
  };
}

/** As a failover has it: whoever reads the queue starts the DAG with the token, and what goes wrong is caught by name. */
function definition(queueUrl: string, heartbeatSeconds: number): object {
  const caught = (name: string, ...errors: readonly string[]): object => ({
    ErrorEquals: errors,
    Next: name,
  });
  const told = (how: string): object => ({ Type: 'Pass', Result: { told: how }, End: true });
  return {
    StartAt: 'Restore',
    States: {
      Restore: {
        Type: 'Task',
        Resource: 'arn:aws:states:::sqs:sendMessage.waitForTaskToken',
        Parameters: { QueueUrl: queueUrl, MessageBody: { 'token.$': '$$.Task.Token' } },
        // Without it the emulator ends the state after a minute.
        TimeoutSeconds: 3600,
        HeartbeatSeconds: heartbeatSeconds,
        Catch: [
          caught('Failure', 'Restore Failure'),
          caught('Silence', 'States.HeartbeatTimeout', 'States.Timeout'),
        ],
        End: true,
      },
      Failure: told('failure'),
      Silence: told('silence'),
    },
  };
}

async function receiveToken(url: string, queueUrl: string): Promise<string> {
  let token = '';
  await until('the state has handed out its token', async () => {
    const { Messages = [] } = (await sqs(url, 'ReceiveMessage', { QueueUrl: queueUrl })) as {
      readonly Messages?: readonly { readonly Body: string; readonly ReceiptHandle: string }[];
    };
    const [message] = Messages;
    if (message === undefined) return ['no message'];
    await sqs(url, 'DeleteMessage', { QueueUrl: queueUrl, ReceiptHandle: message.ReceiptHandle });
    token = (JSON.parse(message.Body) as { readonly token: string }).token;
    return [];
  });
  return token;
}

/** Calls the queue service. */
export async function sqs(
  url: string,
  action: string,
  body: object,
): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `AmazonSQS.${action}`,
      authorization: credential('sqs'),
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${action}: ${answer.status} ${text}`);
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

/** The emulator tells its services apart by the signature's scope, and does not look at the signature. */
export const credential = (service: string): string =>
  `AWS4-HMAC-SHA256 Credential=test/20260101/${REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`;

async function untilAnswers(url: string): Promise<void> {
  const end = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < end) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok === true) return;
    await sleep(100);
  }
  throw new Error(`The emulator did not answer ${url} within ${START_TIMEOUT_MS} ms.`);
}
