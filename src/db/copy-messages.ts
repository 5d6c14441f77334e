const COPY_DATA = 0x64; // 'd'
const COPY_DONE = 0x63; // 'c'
const COPY_OUT_RESPONSE = 0x48; // 'H'
const HEADER_BYTES = 5;

export interface MessageSink {
  /** Payload of CopyData: chunk[from, to). Called any number of times for one message. */
  data(chunk: Buffer, from: number, to: number): void;
  /** The server has sent all rows. */
  done(): void;
  /** Every other message, whole and with its header. False: stop walking, the rest of the chunk is not ours. */
  other(message: Buffer): boolean;
}

/**
 * Walks the messages of a COPY (PostgreSQL protocol 3.0: one type byte, a length that counts itself, the payload).
 * Chunks may be cut anywhere. Of data only the count of bytes left is kept, so that one huge value costs no joining.
 *
 * @returns a function that takes the next chunk and returns where it stopped: the chunk's length unless told to stop
 */
export function createMessageWalker(sink: MessageSink): (chunk: Buffer) => number {
  const header = Buffer.alloc(HEADER_BYTES);
  let headerFilled = 0;
  let kind: 'header' | 'data' | 'skip' | 'other' = 'header';
  let left = 0;
  let collected: Buffer[] = [];

  const startMessage = (): void => {
    const type = header[0];
    left = header.readUInt32BE(1) - 4;
    headerFilled = 0;
    if (type === COPY_DATA) kind = 'data';
    else if (type === COPY_DONE || type === COPY_OUT_RESPONSE) kind = 'skip';
    else {
      kind = 'other';
      collected = [Buffer.from(header)];
    }
    if (type === COPY_DONE) sink.done();
  };

  /** Ends a message whose last byte was taken; false when the sink wants no more. */
  const endMessage = (): boolean => {
    const wasOther = kind === 'other';
    kind = 'header';
    return !wasOther || sink.other(Buffer.concat(collected));
  };

  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (kind === 'header') {
        const to = Math.min(chunk.length, at + HEADER_BYTES - headerFilled);
        headerFilled += chunk.copy(header, headerFilled, at, to);
        at = to;
        if (headerFilled < HEADER_BYTES) break;
        startMessage();
      } else {
        const to = Math.min(chunk.length, at + left);
        if (kind === 'data') sink.data(chunk, at, to);
        else if (kind === 'other') collected.push(Buffer.from(chunk.subarray(at, to)));
        left -= to - at;
        at = to;
      }
      if (kind !== 'header' && left === 0 && !endMessage()) return at;
    }
    return at;
  };
}
