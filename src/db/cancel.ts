import { once } from 'node:events';
import { dial } from './dial.ts';
import type { DatabaseTarget, TlsAttempt } from './target.ts';

/** CancelRequest: length, 80877102, process id, secret key (PostgreSQL protocol 3.0, "Message Formats"). */
const CANCEL_CODE = 80_877_102;

export interface BackendKey {
  readonly processId: number;
  readonly secretKey: number;
}

/**
 * Asks the server to cancel what a session is running. Best effort: it resolves when the server closed the connection
 * that carried the request, or when `timeoutMs` are over, and never rejects.
 */
export async function cancelQuery(
  target: DatabaseTarget,
  attempt: TlsAttempt,
  key: BackendKey,
  timeoutMs: number,
): Promise<void> {
  const giveUp = new AbortController();
  const timer = setTimeout(() => {
    giveUp.abort();
  }, timeoutMs);
  try {
    const socket = await dial(target, attempt, giveUp.signal);
    const closed = once(socket, 'close', { signal: giveUp.signal });
    const request = Buffer.alloc(16);
    request.writeInt32BE(16, 0);
    request.writeInt32BE(CANCEL_CODE, 4);
    request.writeInt32BE(key.processId, 8);
    request.writeInt32BE(key.secretKey | 0, 12);
    socket.resume().end(request);
    await closed.finally(() => socket.destroy());
  } catch {
    // The session's own socket is destroyed next; the server notices that by itself, only later.
  } finally {
    clearTimeout(timer);
  }
}
