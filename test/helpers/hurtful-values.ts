import { createHash } from 'node:crypto';

/** Values that text formats, parsers and JavaScript's own types get wrong. */

/** Text that no compression makes small, the same in every run. */
export function noise(length: number): string {
  let text = '';
  for (let block = 0; text.length < length; block += 1) {
    text += createHash('sha512').update(String(block)).digest('base64');
  }
  return text.slice(0, length);
}

export const LONG_TEXT: string = noise(500_000);

export const TEXTS: readonly (string | null)[] = [
  null,
  '',
  ' ',
  ' leading and trailing ',
  '\n',
  '\r',
  '\r\n',
  'CR\rLF\nCRLF\r\nend\r\n',
  '\\N',
  '\\n',
  '\\.',
  'before\n\\.\nafter',
  '\n\\.\n',
  '\\',
  '\\\\',
  'ends with a backslash\\',
  '"',
  '""',
  '"quoted"',
  "it's",
  ',',
  ',,,',
  'a,"b",\n"c"',
  ';',
  '|',
  '\t',
  'tab\tand\vvertical\fform\bback',
  '\u0001\u001b\u007f\u0085',
  'NULL',
  'null',
  '{}',
  '%s %(x)s {{ ds }} ${x} $1',
  '\\x00ff',
  'emoji 😀 family 👩‍👩‍👧‍👦 flag 🇪🇺',
  'decomposed e\u0301, composed \u00e9',
  '\ufeffbyte order mark, \u2028 line separator, \u202e right to left',
  '\u{10ffff}\ue000',
  'COPY t FROM stdin;',
  "'; DROP TABLE dag_run; --",
  LONG_TEXT,
  'line\n'.repeat(10_000),
];

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

export const BYTES: readonly (Buffer | null)[] = [
  null,
  Buffer.alloc(0),
  EVERY_BYTE,
  Buffer.alloc(1),
  Buffer.from('\\x41\\N\n\\.\n'),
  Buffer.concat(Array.from({ length: 2000 }, () => EVERY_BYTE)),
];

/** The type json keeps its text: spaces, repeated keys, the spelling of numbers and escapes. */
export const JSONS: readonly string[] = [
  '{}',
  '  {  }  ',
  '{ "b" :  1,\n\t"a":2 , "a" : 3 }',
  '{"number": 1.10000000000000000000001e5, "big": 123456789012345678901234567890, "minus zero": -0.0}',
  '{"escape": "\\u0041\\u00e9\\ud83d\\ude00\\u0000\\/", "backslash": "\\\\N", "newline": "\\n"}',
  '{"__var": {"😀": "e\u0301"}, "__type": "dict"}',
  'null',
  '[]',
  ' "a, \\"b\\"" ',
  `{"long": "${noise(300_000)}"}`,
];

export const TIMES: readonly (string | null)[] = [
  null,
  '2026-10-25 01:30:00.000001+00',
  '2026-10-25 02:30:00.123456+02',
  '2024-02-29 23:59:59.999999+00',
  '1970-01-01 00:00:00+00',
  '1969-12-31 23:59:59.999999+00',
  '1883-11-18 12:03:57.5-04:56:02',
  '0001-01-01 00:00:00+00',
  '0044-03-15 12:00:00.123456+00 BC',
  '4713-01-01 00:00:00+00 BC',
  '294276-12-31 23:59:59.999999+00',
  'infinity',
  '-infinity',
];

export const FLOATS: readonly (string | null)[] = [
  null,
  '0',
  '-0',
  '0.1',
  '0.30000000000000004',
  '2.2250738585072014e-308',
  '5e-324',
  '1.7976931348623157e+308',
  '123456789.12345679',
  '-3.141592653589793',
  '9007199254740993',
  'NaN',
  'Infinity',
  '-Infinity',
];

export const INTEGERS: readonly (number | null)[] = [null, 0, 1, -1, 2_147_483_647, -2_147_483_648];

/** Goes round, so that lists of different lengths meet in many combinations. */
export function pick<T>(values: readonly T[], at: number): T {
  return values[at % values.length] as T;
}
