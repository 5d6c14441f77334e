import { describe, expect, test } from 'vitest';
import { isExactNumber, parseExact, sortMembers, stringifyExact } from '../../src/rest/exact-json.ts';

const roundTrip = (text: string): string => stringifyExact(parseExact(text));

describe('numbers of JSON as they were sent', () => {
  test.each([
    '1.0',
    '-0.0',
    '1152921504606846976',
    '1e5',
    '1E-7',
    '-1.50',
    '123456789012345678901234567890',
    'NaN',
    '-Infinity',
    '[1,2.5,-3,0,1.0,[2.0]]',
    '{"a":1.0,"b":{"c":[1e400,"1.0"]},"d":"x"}',
    '"a \\" 1.0 \\\\"',
    '{"1.0":1.0,"\\\\":2.0}',
    'true',
    'null',
    '"NaN 1.0"',
  ])('%s', (text) => {
    expect(roundTrip(text)).toBe(text);
  });

  test('those that JavaScript writes as they are stay numbers', () => {
    expect(parseExact('[1,-2,10.435386,9007199254740991]')).toEqual([1, -2, 10.435386, 9007199254740991]);
  });

  test('the others say what they were', () => {
    const value = parseExact('{"n":1.0}') as { n: unknown };
    expect(isExactNumber(value.n) && value.n.text).toBe('1.0');
    expect(isExactNumber({ text: '1.0', toJSON: () => '1.0' })).toBe(false);
  });

  test('a text of megabytes', () => {
    const text = JSON.stringify({ long: 'x"\\ 1.0 '.repeat(500_000), n: 1 });
    expect(roundTrip(text)).toBe(text);
  });

  test('what is no JSON is an error', () => {
    expect(() => parseExact('{1.0')).toThrow(SyntaxError);
  });
});

test.each([
  ['{"b":1.0,"a":[{"d":null,"c":2}]}', '{"a":[{"c":2,"d":null}],"b":1.0}'],
  [
    '{"b":{"__proto__":1,"B":2},"a":"{\\"z\\":1,\\"y\\":2}"}',
    '{"a":"{\\"z\\":1,\\"y\\":2}","b":{"B":2,"__proto__":1}}',
  ],
  ['[3,1,2]', '[3,1,2]'],
])('members of %s in the order of their names', (text, sorted) => {
  expect(stringifyExact(sortMembers(parseExact(text)))).toBe(sorted);
});
