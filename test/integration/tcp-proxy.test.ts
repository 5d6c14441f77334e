import pg from 'pg';
import { expect, inject, test, vi } from 'vitest';
import { startProxy } from '../helpers/tcp-proxy.ts';

async function through(port: number): Promise<pg.Client> {
  const url = new URL(inject('postgresUrl'));
  url.host = `127.0.0.1:${port}`;
  const client = new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 500 });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

const BIG = "SELECT repeat('x', 5000000) AS x";

test('a proxy goes silent after so many bytes, and goes on', async () => {
  const url = new URL(inject('postgresUrl'));
  const proxy = await startProxy({ host: url.hostname, port: Number(url.port) });
  const client = await through(proxy.port);
  expect((await client.query('SELECT 1 AS x')).rows).toEqual([{ x: 1 }]);

  proxy.blackhole(1_000_000);
  const held = client.query<{ x: string }>(BIG);
  await vi.waitFor(() => {
    expect(proxy.bytes.toClient).toBeGreaterThan(1_000_000);
  }, 20_000);
  const silence = new Promise((resolve) => setTimeout(resolve, 300, 'silence'));
  expect(await Promise.race([held, silence])).toBe('silence');
  expect(proxy.bytes.toClient).toBeLessThan(5_000_000);
  await expect(through(proxy.port)).rejects.toThrow(/timeout/);

  proxy.resume();
  expect((await held).rows[0]?.x.length).toBe(5_000_000);

  const cut = expect(client.query('SELECT pg_sleep(10)')).rejects.toThrow(/ECONNRESET|terminated/);
  proxy.cut();
  await cut;
  const next = await through(proxy.port);
  await next.end();
  await proxy.close();
});
