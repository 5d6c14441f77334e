import { describe, expect, test } from 'vitest';
import { isLifeboatError } from '../../src/errors.ts';
import { pythonBytes, pythonLiteralToJson } from '../../src/engine/import/python-literal.ts';

describe('Python literals as JSON', () => {
  // Right side: json.dumps(ast.literal_eval(left)).
  test.each([
    ["{'a': None, 'b': True, 'c': False}", '{"a": null, "b": true, "c": false}'],
    ["{'t': \"it's\"}", '{"t": "it\'s"}'],
    [String.raw`'it\'s "q" | pipe'`, String.raw`"it's \"q\" | pipe"`],
    [String.raw`'\\ \n \r \t \x07 \x7f \101 \d'`, String.raw`"\\ \n \r \t \u0007 \u007f A \\d"`],
    ["'café ☃ 😀'", String.raw`"caf\u00e9 \u2603 \ud83d\ude00"`],
    [String.raw`'\xe9 \u2603 \U0001f600 \ud800'`, String.raw`"\u00e9 \u2603 \ud83d\ude00 \ud800"`],
    [
      '[1, -2, 0.1, 1e-05, 1e+16, 123456789012345678901234567890]',
      '[1, -2, 0.1, 1e-05, 1e+16, 123456789012345678901234567890]',
    ],
    ["(1, 'a', ())", '[1, "a", []]'],
    ['(1,)', '[1]'],
    ['[]', '[]'],
    ['{}', '{}'],
    ["{'a': {'b': [{'c': (None,)}]}}", '{"a": {"b": [{"c": [null]}]}}'],
    ["\n{ 'a' :1 , }\n", '{"a": 1}'],
  ])('%s', (literal, json) => {
    expect(pythonLiteralToJson(literal)).toBe(json);
  });

  test.each([
    '',
    "b'bytes'",
    "{1: 'a'}",
    '{1, 2}',
    "{'a': nan}",
    'datetime.datetime(2026, 1, 1)',
    "'open",
    '[1',
    '[1 2]',
    '(1)',
    '1 2',
    '01',
    "{'a' 1}",
    String.raw`'\N{BULLET}'`,
    String.raw`'\x4'`,
    String.raw`'\U00110000'`,
    "'a\nb'",
    '['.repeat(100_000),
  ])('refused: %.40s', (literal) => {
    expect(failureKind(() => pythonLiteralToJson(literal))).toBe('integrity');
  });

  test('bytes', () => {
    expect(pythonBytes(String.raw`bytearray(b'\x80\x05}\x94.\n\'"')`)).toEqual(
      Buffer.from([0x80, 5, 0x7d, 0x94, 0x2e, 0x0a, 0x27, 0x22]),
    );
    expect(failureKind(() => pythonBytes("'text'"))).toBe('integrity');
  });
});

function failureKind(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isLifeboatError(error) ? error.kind : String(error);
  }
  return 'none';
}
