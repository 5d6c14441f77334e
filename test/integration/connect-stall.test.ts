import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { openClient, withClient, type OpenClient } from '../../src/db/connect.ts';
import { copyOut } from '../../src/db/copy-out.ts';
import type { DatabaseTarget } from '../../src/db/target.ts';
import { parseAirflowUrl } from '../../src/db/url.ts';
import { readBackend, watchStall, type Backend } from '../../src/db/watchdog.ts';
import type { LifeboatError } from '../../src/errors.ts';
import { createDatabase } from '../helpers/databases.ts';
import { startProxy, type TcpProxy } from '../helpers/tcp-proxy.ts';

const STALL_MS = 150;
/** Long enough for several questions to the server. */
const PATIENCE_MS = STALL_MS * 7;
const BIG_COPY = `COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT`;

let target: DatabaseTarget;
let proxy: TcpProxy;

beforeEach(async () => {
  const database = await createDatabase({ from: 'empty' });
  target = { ...parseAirflowUrl(database.url, {}), connectTimeoutMs: 1000 };
  proxy = await startProxy({ port: target.port });
  await withClient(target, { applicationName: 'setup' }, (client) => client.query('CREATE TABLE t (a text)'));
});

interface Watched {
  readonly client: Client;
  readonly backend: Backend;
  readonly told: readonly LifeboatError[];
}

/** A client that reaches the server through the proxy only, watched by way of `ask`. */
async function watched(ask: DatabaseTarget = target): Promise<Watched> {
  const open: OpenClient = await openClient({ ...target, port: proxy.port }, { applicationName: 'watched' });
  await open.client.query('BEGIN');
  const backend = await readBackend(open.client);
  const told: LifeboatError[] = [];
  const watch = watchStall(open.client, ask, {
    backend,
    stallMs: STALL_MS,
    onStalled: (error) => told.push(error),
  });
  onTestFinished(async () => {
    watch.stop();
    await proxy.close();
    await open.close();
  });
  return { client: open.client, backend, told };
}

describe('a connection whose other end is gone', () => {
  it('ends while a COPY comes in', async () => {
    const { client, told } = await watched();
    proxy.blackhole(1_000_000);
    const copying = (async () => {
      for await (const block of copyOut(client, BIG_COPY, unaborted()).blocks) expect(block).toBeDefined();
    })();
    await expect(copying).rejects.toThrow(/is dead: the server waits for us while we wait for it/);
    expect(told).toHaveLength(1);
  });

  it('ends while a COPY comes in by pg-copy-streams', async () => {
    const { client } = await watched();
    proxy.blackhole(1_000_000);
    const stream = client.query(copyTo(BIG_COPY));
    await expect(stream.forEach(() => undefined)).rejects.toThrow(/is dead/);
  });

  it('ends while a COPY goes out', async () => {
    const { client } = await watched();
    const stream = client.query(copyFrom('COPY t FROM STDIN'));
    const rows = Readable.from(endless());
    setTimeout(() => {
      proxy.blackhole();
    }, 200);
    await expect(pipeline(rows, stream)).rejects.toThrow(/is dead: the server waits for us/);
  });

  it('ends when an answer never comes', async () => {
    const { client } = await watched();
    const asking = client.query('SELECT pg_sleep(0.3)');
    proxy.blackhole();
    await expect(asking).rejects.toThrow(/is dead: the server waits for us/);
  });

  it('ends when the server ended the session unheard', async () => {
    const { client, backend } = await watched();
    const asking = client.query('SELECT pg_sleep(60)');
    await sleep(100);
    proxy.blackhole();
    await withClient(target, { applicationName: 'x' }, (other) =>
      other.query('SELECT pg_terminate_backend($1)', [backend.pid]),
    );
    await expect(asking).rejects.toThrow(/is dead: the server ended the session/);
  });

  it('ends when the server cannot be reached any more', async () => {
    const { client } = await watched({ ...target, port: proxy.port });
    const asking = client.query('SELECT pg_sleep(60)');
    await sleep(100);
    proxy.blackhole();
    await expect(asking).rejects.toThrow(/is dead: nothing arrives any more/);
  });

  it('frees what the lost session held', async () => {
    const { client } = await watched();
    await client.query('LOCK TABLE t');
    const asking = client.query('SELECT 1');
    proxy.blackhole();
    await expect(asking).rejects.toThrow(/is dead/);
    await withClient(target, { applicationName: 'next' }, async (next) => {
      await next.query("SET lock_timeout = '2s'");
      await next.query('BEGIN; LOCK TABLE t');
    });
  });
});

describe('a connection that is only slow', () => {
  it('lives through a long statement', async () => {
    const { client, told } = await watched();
    await client.query(`SELECT pg_sleep(${PATIENCE_MS / 1000})`);
    expect(told).toEqual([]);
  });

  it('lives through a wait for a lock', async () => {
    const { client, told } = await watched();
    await withClient(target, { applicationName: 'holder' }, async (holder) => {
      await holder.query('BEGIN; LOCK TABLE t');
      const waiting = client.query('LOCK TABLE t');
      await sleep(PATIENCE_MS);
      await holder.query('COMMIT');
      await waiting;
    });
    expect(told).toEqual([]);
  });

  it('lives on without a statement', async () => {
    const { client, told } = await watched();
    await sleep(PATIENCE_MS);
    await client.query('SELECT 1');
    expect(told).toEqual([]);
  });

  it('lives with a slow reader of a COPY', async () => {
    const { client, told } = await watched();
    const copy = copyOut(client, BIG_COPY, unaborted());
    let bytes = 0;
    for await (const block of copy.blocks) {
      if (bytes === 0) await sleep(PATIENCE_MS);
      bytes += block.length;
    }
    expect(copy.rows()).toBe(200_000);
    expect(told).toEqual([]);
  });

  it('lives with a slow reader by pg-copy-streams', async () => {
    const { client, told } = await watched();
    let bytes = 0;
    for await (const chunk of client.query(copyTo(BIG_COPY))) {
      if (bytes === 0) await sleep(PATIENCE_MS);
      bytes += (chunk as Buffer).length;
    }
    expect(bytes).toBe(200_000 * 1001);
    expect(told).toEqual([]);
  });

  it('lives with a slow source of a COPY', async () => {
    const { client, told } = await watched();
    const stream = client.query(copyFrom('COPY t FROM STDIN'));
    await pipeline(
      Readable.from(
        (async function* () {
          yield 'a\n';
          await sleep(PATIENCE_MS);
          yield 'b\n';
        })(),
      ),
      stream,
    );
    expect(stream.rowCount).toBe(2);
    expect(told).toEqual([]);
  });

  it('is given the benefit of the doubt when the server does not let the question in', async () => {
    const { client, told } = await watched({ ...target, password: 'wrong' });
    await client.query(`SELECT pg_sleep(${PATIENCE_MS / 1000})`);
    expect(told).toEqual([]);
  });

  it('outlives a short silence of the network', async () => {
    const { client, told } = await watched();
    const asking = client.query('SELECT pg_sleep(0.1)');
    proxy.blackhole();
    // The verdict needs a whole interval without a byte, and as long again in grace: two at the least.
    await sleep(STALL_MS * 1.5);
    proxy.resume();
    await asking;
    await sleep(PATIENCE_MS);
    expect(told).toEqual([]);
  });
});

const unaborted = (): AbortSignal => new AbortController().signal;

async function* endless(): AsyncGenerator<string> {
  for (;;) {
    yield `${'y'.repeat(1000)}\n`.repeat(100);
    await sleep(1);
  }
}
