import { parseExact } from '../../rest/exact-json.ts';

/** Not a value that JSON has, or no pickle at all. */
class NotPlain extends Error {}

const MARK = Symbol('mark');

/**
 * A pickle of None, booleans, numbers, strings, lists, tuples and dicts with string keys, as Python's protocols 2 to 5 write
 * it: what a conf is that came as JSON. Nothing is executed; whatever else stands in it makes it unreadable. Numbers keep their
 * text where JavaScript would write another one, tuples become lists, as json.dumps does it.
 *
 * @returns undefined when it is something else
 */
export function plainPickle(bytes: Uint8Array): { readonly value: unknown } | undefined {
  try {
    const value = run(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    // A list that holds itself ends here.
    JSON.stringify(value);
    return { value };
  } catch (error) {
    if (error instanceof NotPlain || error instanceof RangeError || error instanceof TypeError) {
      return undefined;
    }
    throw error;
  }
}

interface Machine {
  readonly bytes: Buffer;
  at: number;
  readonly stack: unknown[];
  readonly memo: unknown[];
}

type Step = (machine: Machine) => void;

const STOP = 0x2e;

function run(bytes: Buffer): unknown {
  const machine: Machine = { bytes, at: 0, stack: [], memo: [] };
  for (;;) {
    const code = take(machine, 1)[0] ?? 0;
    if (code === STOP) break;
    const step = STEPS[code];
    if (step === undefined) throw new NotPlain();
    step(machine);
  }
  if (machine.stack.length !== 1) throw new NotPlain();
  return pop(machine);
}

function take(machine: Machine, count: number): Buffer {
  const end = machine.at + count;
  if (end > machine.bytes.length) throw new NotPlain();
  const taken = machine.bytes.subarray(machine.at, end);
  machine.at = end;
  return taken;
}

function pop({ stack }: Machine): unknown {
  if (stack.length === 0 || stack.at(-1) === MARK) throw new NotPlain();
  return stack.pop();
}

function popToMark({ stack }: Machine): readonly unknown[] {
  const at = stack.lastIndexOf(MARK);
  if (at === -1) throw new NotPlain();
  return stack.splice(at).slice(1);
}

function size(machine: Machine, bytes: 1 | 4 | 8): number {
  const field = take(machine, bytes);
  const length = bytes === 8 ? Number(field.readBigUInt64LE()) : field.readUIntLE(0, bytes);
  if (length > machine.bytes.length) throw new NotPlain();
  return length;
}

const text =
  (width: 1 | 4 | 8): Step =>
  (machine) => {
    machine.stack.push(take(machine, size(machine, width)).toString('utf8'));
  };

/** Little endian, two's complement, of any length. */
const long =
  (width: 1 | 4): Step =>
  (machine) => {
    const digits = take(machine, size(machine, width));
    let value = 0n;
    for (const byte of [...digits].reverse()) value = value * 256n + BigInt(byte);
    if (((digits.at(-1) ?? 0) & 0x80) !== 0) value -= 1n << BigInt(8 * digits.length);
    machine.stack.push(parseExact(String(value)));
  };

const push =
  (value: () => unknown): Step =>
  ({ stack }) => {
    stack.push(value());
  };

const integer =
  (read: (field: Buffer) => number, width: number): Step =>
  (machine) => {
    machine.stack.push(read(take(machine, width)));
  };

function float(machine: Machine): void {
  const value = take(machine, 8).readDoubleBE();
  if (!Number.isFinite(value)) throw new NotPlain();
  const written = Object.is(value, -0) ? '-0' : String(value);
  machine.stack.push(parseExact(/^-?\d+$/.test(written) ? `${written}.0` : written));
}

const tuple =
  (count: number): Step =>
  (machine) => {
    const items = Array.from({ length: count }, () => pop(machine)).reverse();
    machine.stack.push(items);
  };

function setItems(machine: Machine, items: readonly unknown[]): void {
  const dict = machine.stack.at(-1);
  if (typeof dict !== 'object' || dict === null || Array.isArray(dict)) throw new NotPlain();
  for (let at = 0; at < items.length; at += 2) {
    const [key, value] = [items[at], items[at + 1]];
    if (typeof key !== 'string') throw new NotPlain();
    // A key called __proto__ is a key as every other.
    Object.defineProperty(dict, key, { value, enumerable: true, configurable: true, writable: true });
  }
}

function append(machine: Machine, items: readonly unknown[]): void {
  const list = machine.stack.at(-1);
  if (!Array.isArray(list)) throw new NotPlain();
  for (const item of items) list.push(item);
}

const memoize =
  (indexOf: (machine: Machine) => number): Step =>
  (machine) => {
    machine.memo[indexOf(machine)] = machine.stack.at(-1);
  };

const recall =
  (width: 1 | 4): Step =>
  (machine) => {
    const at = take(machine, width).readUIntLE(0, width);
    if (!(at in machine.memo)) throw new NotPlain();
    machine.stack.push(machine.memo[at]);
  };

/** By their code in pickletools.py. */
const STEPS: Readonly<Record<number, Step>> = {
  0x80: (machine) => void take(machine, 1), // PROTO
  0x95: (machine) => void take(machine, 8), // FRAME
  0x28: push(() => MARK),
  0x4e: push(() => null),
  0x88: push(() => true),
  0x89: push(() => false),
  0x7d: push(() => ({})),
  0x5d: push(() => []),
  0x29: push(() => []), // EMPTY_TUPLE
  0x4a: integer((field) => field.readInt32LE(), 4), // BININT
  0x4b: integer((field) => field.readUInt8(), 1), // BININT1
  0x4d: integer((field) => field.readUInt16LE(), 2), // BININT2
  0x8a: long(1), // LONG1
  0x8b: long(4), // LONG4
  0x47: float, // BINFLOAT
  0x8c: text(1), // SHORT_BINUNICODE
  0x58: text(4), // BINUNICODE
  0x8d: text(8), // BINUNICODE8
  0x85: tuple(1),
  0x86: tuple(2),
  0x87: tuple(3),
  0x74: (machine) => void machine.stack.push([...popToMark(machine)]), // TUPLE
  0x75: (machine) => {
    setItems(machine, popToMark(machine)); // SETITEMS
  },
  0x73: (machine) => {
    const value = pop(machine);
    setItems(machine, [pop(machine), value]); // SETITEM
  },
  0x65: (machine) => {
    append(machine, popToMark(machine)); // APPENDS
  },
  0x61: (machine) => {
    append(machine, [pop(machine)]); // APPEND
  },
  0x94: memoize(({ memo }) => memo.length), // MEMOIZE
  0x71: memoize((machine) => take(machine, 1).readUInt8()), // BINPUT
  0x72: memoize((machine) => take(machine, 4).readUInt32LE()), // LONG_BINPUT
  0x68: recall(1), // BINGET
  0x6a: recall(4), // LONG_BINGET
};
