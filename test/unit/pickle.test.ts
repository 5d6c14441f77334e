import { describe, expect, test } from 'vitest';
import { plainPickle } from '../../src/engine/rest-restore/pickle.ts';
import { storedJson } from '../../src/engine/rest-restore/stored-json.ts';
import { stringifyExact } from '../../src/rest/exact-json.ts';

/** By pickle.dumps(value, protocol).hex() of CPython 3.11, protocols 2, 4 and 5. */
const PICKLED: readonly (readonly [what: string, hex: string, json: string])[] = [
  ['{}', '80057d942e', '{}'],
  [
    'a few of each',
    '80059550000000000000007d94288c0161944b018c0162945d9428884e4af9ffffff4d2c014a701101008a060000000000018a090000000000000000c0473ff0000000000000473fb999999999999a8c06c3a9f09f98809465752e',
    '{"a":1,"b":[true,null,-7,300,70000,1099511627776,-1180591620717411303424,1.0,0.1,"é😀"]}',
  ],
  [
    'tuples',
    '80049537000000000000007d94288c017494298c0175944b0185948c0176944b014b0286948c0177944b014b024b0387948c017894284b014b024b034b047494752e',
    '{"t":[],"u":[1],"v":[1,2],"w":[1,2,3],"x":[1,2,3,4]}',
  ],
  [
    'long text, one value twice',
    `80027d71002858090000005f5f70726f746f5f5f71017d710258010000006b7103582c010000${'78'.repeat(300)}710473580400000073616d6571055d7106286803680365752e`,
    `{"__proto__":{"k":"${'x'.repeat(300)}"},"same":["k","k"]}`,
  ],
  ['None', '80054e2e', 'null'],
];

const REFUSED: readonly (readonly [what: string, hex: string])[] = [
  ['a key that is no text', '8005950a000000000000007d944b018c016194732e'],
  [
    'a datetime',
    '80059531000000000000007d948c0164948c086461746574696d65948c086461746574696d65949394430a07ea01010000000000009485945294732e',
  ],
  ['a set', '80059510000000000000007d948c0173948f94284b014b0290732e'],
  ['bytes', '8005950c000000000000007d948c01629443017894732e'],
  ['NaN', '80059511000000000000007d948c016e94477ff8000000000000732e'],
  ['a list that holds itself', '80059506000000000000005d946800612e'],
  ['protocol 0', '286470300a56610a70310a56620a70320a732e'],
];

/** {'a': [1, 'b', 2**70, 1.5]} */
const WHOLE =
  '80059526000000000000007d948c0161945d94284b018c0162948a09000000000000000040473ff800000000000065732e';
/** {'a': 1} */
const ONE = '8005950a000000000000007d948c0161944b01732e';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

describe('a pickle of plain values', () => {
  test.each(PICKLED)('%s', (_what, hex, json) => {
    expect(stringifyExact(plainPickle(bytes(hex))?.value)).toBe(json);
  });

  test.each(REFUSED)('%s is none', (_what, hex) => {
    expect(plainPickle(bytes(hex))).toBeUndefined();
  });

  test('any shorter one is none', () => {
    const whole = bytes(WHOLE);
    expect(plainPickle(whole)).toBeDefined();
    for (let length = 0; length < whole.length; length++) {
      expect(plainPickle(whole.subarray(0, length))).toBeUndefined();
    }
  });
});

test('values as COPY writes them', () => {
  expect(storedJson('{"a":1}', 'jsonb')?.value).toEqual({ a: 1 });
  expect(storedJson(`\\x${Buffer.from('{"a": 1.0}').toString('hex')}`, 'bytea')?.value).toBeDefined();
  expect(storedJson(`\\x${ONE}`, 'bytea')?.value).toEqual({ a: 1 });
  for (const [text, type] of [
    ['{', 'json'],
    ['x', 'text'],
    [null, 'json'],
    ['\\x7b', 'bytea'],
  ] as const) {
    expect(storedJson(text, type)).toBeUndefined();
  }
});
