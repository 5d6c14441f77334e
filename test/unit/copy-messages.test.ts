import { describe, expect, it } from 'vitest';
import { createMessageWalker } from '../../src/db/copy-messages.ts';

/** One message of the protocol: type, length that counts itself, payload. */
function message(type: string, payload: string | Buffer): Buffer {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** What a walker told, in its order. Data is joined: how it is cut is its own affair. */
function walk(stream: Buffer, cuts: readonly number[]): { told: string[]; left: Buffer } {
  const told: string[] = [];
  let stopped = false as boolean;
  const walker = createMessageWalker({
    data: (bytes) => {
      const last = told.at(-1);
      if (last?.startsWith('data ')) told[told.length - 1] = last + bytes.toString('latin1');
      else told.push(`data ${bytes.toString('latin1')}`);
    },
    done: () => told.push('done'),
    other: (whole) => {
      told.push(
        `${String.fromCharCode(whole[0] ?? 0)} ${whole.length} ${whole.subarray(5).toString('latin1')}`,
      );
      stopped = whole[0] === 'Z'.charCodeAt(0);
      return !stopped;
    },
  });
  const ends = [...cuts, stream.length];
  let from = 0;
  for (const to of ends) {
    // A copy, as the walker changes it.
    const chunk = Buffer.from(stream.subarray(from, to));
    const end = walker(chunk);
    if (stopped) return { told, left: stream.subarray(from + end) };
    expect(end).toBe(chunk.length);
    from = to;
  }
  return { told, left: Buffer.alloc(0) };
}

const STREAM = Buffer.concat([
  message('H', '\x00\x00\x02'),
  message('d', 'a,1\n'),
  message('d', ''),
  message('N', 'a notice'),
  message('d', 'b,"d\x00\x00\x00\x05d"\n'),
  message('d', 'x'.repeat(40)),
  message('c', ''),
  message('C', 'COPY 3\0'),
  message('Z', 'T'),
  message('d', 'of another query'),
]);
const TOLD = [
  'data a,1\n',
  'N 13 a notice',
  `data b,"d\x00\x00\x00\x05d"\n${'x'.repeat(40)}`,
  'done',
  'C 12 COPY 3\0',
  'Z 6 T',
];
const LEFT = message('d', 'of another query');

describe('walking the messages of a COPY', () => {
  it('tells data, its end and other messages in their order, wherever the bytes are cut', () => {
    for (let first = 0; first <= STREAM.length; first++) {
      for (const second of [first, first + 1, first + 7, STREAM.length]) {
        const cuts = [first, Math.min(second, STREAM.length)];
        const { told, left } = walk(STREAM, cuts);
        expect({ cuts, told }).toEqual({ cuts, told: TOLD });
        expect(STREAM.subarray(STREAM.length - LEFT.length).includes(left)).toBe(true);
      }
    }
  });

  it('tells the same when every byte comes alone', () => {
    const { told } = walk(
      STREAM,
      Array.from({ length: STREAM.length }, (_, index) => index),
    );
    expect(told).toEqual(TOLD);
  });

  it('stops behind the message after which the bytes are somebody else’s', () => {
    expect(walk(STREAM, []).left).toEqual(LEFT);
  });

  it('keeps one huge value as it is, whatever its pieces', () => {
    const huge = Buffer.alloc(300_000);
    for (let at = 0; at < huge.length; at++) huge[at] = at % 251;
    const pieces: Buffer[] = [];
    const walker = createMessageWalker({
      data: (bytes) => pieces.push(Buffer.from(bytes)),
      done: () => undefined,
      other: () => true,
    });
    const stream = Buffer.concat([message('d', 'first\n'), message('d', huge), message('d', 'last\n')]);
    for (let from = 0; from < stream.length; from += 65_536) {
      walker(Buffer.from(stream.subarray(from, from + 65_536)));
    }
    expect(Buffer.concat(pieces)).toEqual(
      Buffer.concat([Buffer.from('first\n'), huge, Buffer.from('last\n')]),
    );
  });
});
