import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Bytes that went through, in both directions. */
  readonly bytes: { readonly toTarget: number; readonly toClient: number };
  /**
   * From now on nothing goes through, in either direction, and nobody is told: what a failed-over database or a dropped
   * route looks like. New connections are accepted and stay silent. Optionally only after so many more bytes to the client.
   */
  blackhole(afterBytes?: number): void;
  /** Resets every connection (RST); new ones go through as before. */
  cut(): void;
  /** Ends a blackhole: what was held back goes on. */
  resume(): void;
  close(): Promise<void>;
}

/** Looks at every chunk before it is passed on; 'drop' loses it, as a connection does that dies at that moment. */
export type ProxyTap = (direction: 'to-target' | 'to-client', chunk: Buffer) => 'pass' | 'drop';

interface Pair {
  readonly client: Socket;
  readonly target: Socket;
}

/** A proxy on 127.0.0.1 in front of `target`, for faults of the network. */
export async function startProxy(
  target: { readonly host?: string; readonly port: number },
  tap: ProxyTap = () => 'pass',
): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const bytes = { toTarget: 0, toClient: 0 };
  let silent = false;
  let silentAt = Infinity;

  const setSilent = (value: boolean): void => {
    silent = value;
    for (const { client, target: server } of pairs) {
      for (const socket of [client, server]) {
        if (value) socket.pause();
        else socket.resume();
      }
    }
  };

  // allowHalfOpen: one side may end while the other still sends, as on a direct connection.
  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: target.host ?? '127.0.0.1', port: target.port, allowHalfOpen: true });
    const pair: Pair = { client, target: upstream };
    pairs.add(pair);
    forward(
      client,
      upstream,
      (chunk) => {
        bytes.toTarget += chunk.length;
        return tap('to-target', chunk);
      },
      () => silent,
    );
    forward(
      upstream,
      client,
      (chunk) => {
        bytes.toClient += chunk.length;
        if (bytes.toClient >= silentAt) setSilent(true);
        return tap('to-client', chunk);
      },
      () => silent,
    );
    // In a blackhole neither side learns that the other is gone.
    client.on('close', () => {
      if (!silent) upstream.destroy();
    });
    upstream.on('close', () => {
      if (!silent) client.destroy();
    });
    if (silent) setSilent(true);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    bytes,
    blackhole(afterBytes = 0) {
      if (afterBytes > 0) silentAt = bytes.toClient + afterBytes;
      else setSilent(true);
    },
    cut() {
      for (const pair of pairs) {
        pair.client.resetAndDestroy();
        pair.target.resetAndDestroy();
      }
    },
    resume() {
      silentAt = Infinity;
      setSilent(false);
    },
    async close() {
      for (const { client, target: upstream } of pairs) {
        client.destroy();
        upstream.destroy();
      }
      pairs.clear();
      server.close();
      await once(server, 'close');
    },
  };
}

function forward(
  from: Socket,
  to: Socket,
  see: (chunk: Buffer) => 'pass' | 'drop',
  isSilent: () => boolean,
): void {
  from.on('data', (chunk: Buffer) => {
    if (see(chunk) === 'drop') return;
    if (!to.write(chunk) && !isSilent()) {
      from.pause();
      to.once('drain', () => {
        if (!isSilent()) from.resume();
      });
    }
  });
  from.on('end', () => to.end());
  from.on('error', () => {
    if (!isSilent()) to.destroy();
  });
}
