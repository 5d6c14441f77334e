import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface SfnCall {
  readonly action: string;
  readonly body: Readonly<Record<string, string>>;
}

/** An error of the service, by the name that AWS gives it. */
export interface SfnError {
  readonly error: string;
  readonly status?: number;
}

export interface FakeStepFunctions {
  /** Variables for a process that shall use it. */
  readonly env: Readonly<Record<string, string>>;
  readonly calls: readonly SfnCall[];
  /** What the next calls of an action get, in order; after them, and without any, they are taken. */
  answer(action: string, ...errors: readonly (SfnError | 'taken')[]): void;
  /** From now on every call for the token is refused so. */
  closeToken(error: string): void;
  actions(): readonly string[];
  close(): Promise<void>;
}

/**
 * The three calls for a task token, as AWS answers them: a token that was told its end, timed out or never was is
 * refused (TaskTimedOut, TaskDoesNotExist, InvalidToken; all 400). moto accepts late reports, so it cannot be used here.
 */
export async function startFakeStepFunctions(token: string): Promise<FakeStepFunctions> {
  const calls: SfnCall[] = [];
  const waiting = new Map<string, (SfnError | 'taken')[]>();
  let closed: string | undefined;

  const reply = (action: string, body: SfnCall['body']): SfnError | 'taken' => {
    const planned = waiting.get(action)?.shift();
    if (planned !== undefined && planned !== 'taken') return planned;
    if (body.taskToken !== token) return { error: 'InvalidToken' };
    if (closed !== undefined) return { error: closed };
    if (action !== 'SendTaskHeartbeat') closed = 'TaskTimedOut';
    return 'taken';
  };
  const server = createServer((request, response) => {
    void (async () => {
      const action = String(request.headers['x-amz-target']).replace('AWSStepFunctions.', '');
      const body = JSON.parse(await text(request)) as SfnCall['body'];
      calls.push({ action, body });
      const answer = reply(action, body);
      response
        .writeHead(answer === 'taken' ? 200 : (answer.status ?? 400), {
          'content-type': 'application/x-amz-json-1.0',
        })
        // The real one quotes what it was sent in some messages, so nobody may pass them on.
        .end(
          answer === 'taken'
            ? '{}'
            : JSON.stringify({ __type: answer.error, message: `of ${body.taskToken ?? ''}` }),
        );
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      AWS_ENDPOINT_URL_SFN: `http://127.0.0.1:${port}`,
      AWS_REGION: 'eu-west-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test-secret-access-key',
    },
    calls,
    answer: (action, ...errors) => void waiting.set(action, [...errors]),
    closeToken: (error) => void (closed = error),
    actions: () => calls.map(({ action }) => action.replace('SendTask', '')),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}
