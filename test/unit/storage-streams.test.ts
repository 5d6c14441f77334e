import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { abortable } from '../../src/storage/streams.ts';

describe('a body that can be aborted', () => {
  it('holds no chunk that was passed on', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const passed: WeakRef<Uint8Array>[] = [];
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 50; index++) {
        await turn();
        const chunk = new Uint8Array(1024);
        passed.push(new WeakRef(chunk));
        yield chunk;
      }
    }
    const iterator = abortable(body(), new AbortController().signal);
    for (let index = 0; index < 40; index++) await iterator.next();
    await turn();
    collect();
    // The last ones may still be on their way through the generators.
    expect(passed.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(5);
    await iterator.return();
  });

  it('rejects with the reason of the abort while the body waits, and lets the body end', async () => {
    const stop = new AbortController();
    let ended = false;
    async function* body(): AsyncGenerator<Uint8Array> {
      try {
        yield new Uint8Array(1);
        await new Promise((resolve) => setTimeout(resolve, 200));
        yield new Uint8Array(1);
      } finally {
        ended = true;
      }
    }
    const iterator = abortable(body(), stop.signal);
    await iterator.next();
    const waiting = iterator.next();
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect.poll(() => ended).toBe(true);
  });

  it('rejects when it was aborted between two chunks', async () => {
    const stop = new AbortController();
    async function* body(): AsyncGenerator<Uint8Array> {
      await turn();
      yield new Uint8Array(1);
      yield new Uint8Array(1);
    }
    const iterator = abortable(body(), stop.signal);
    await iterator.next();
    stop.abort(new Error('enough'));
    await expect(iterator.next()).rejects.toThrow('enough');
  });
});
