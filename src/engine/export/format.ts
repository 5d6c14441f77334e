import { Document, type ScalarTag } from 'yaml';
import type { SettingsEntry } from './settings.ts';

const INDENT = 4;

/**
 * Airflow's JSON: indented by four, in ASCII like Python's json.dumps, because `airflow … import` opens files in the
 * encoding of its locale. Entry by entry, so that a name such as `__proto__` is a name like any other.
 */
export function* settingsJson(entries: readonly SettingsEntry[]): Generator<string> {
  const margin = ' '.repeat(INDENT);
  let before = '{';
  for (const { name, value } of entries) {
    const text = JSON.stringify(value, null, INDENT).replaceAll('\n', `\n${margin}`);
    yield ascii(`${before}\n${margin}${JSON.stringify(name)}: ${text}`);
    before = ',';
  }
  yield entries.length === 0 ? '{}\n' : '\n}\n';
}

function ascii(json: string): string {
  return json.replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${hex(unit.charCodeAt(0), 4)}`);
}

/** The same as YAML, every text in double quotes: `yes`, `1e3` and ` x` stay texts in YAML 1.1 (Airflow's) and 1.2. */
export function* settingsYaml(entries: readonly SettingsEntry[]): Generator<string> {
  const content = new Map(
    entries.map(({ name, value }) => [
      name,
      typeof value === 'string' ? value : new Map(Object.entries(value)),
    ]),
  );
  const document = new Document(content, {
    customTags: (tags) => [QUOTED, ...tags],
    // Two equal descriptions would become an anchor and an alias.
    aliasDuplicateObjects: false,
  });
  yield document.toString({ lineWidth: 0, indent: INDENT });
}

/**
 * Escapes all that is not plain ASCII. PyYAML refuses a file with a DEL or a C1 control in it, normalises U+0085 and
 * U+2028, and reads the surrogate pair of JSON's `\ud83d\ude00` as two characters that no encoding can hold.
 */
const QUOTED: ScalarTag = {
  tag: 'tag:yaml.org,2002:str',
  default: true,
  identify: (value) => typeof value === 'string',
  resolve: (text) => text,
  stringify: ({ value }) =>
    JSON.stringify(value).replaceAll(/[\u007f-\u{10ffff}]/gu, (character) => {
      const point = character.codePointAt(0) ?? 0;
      return point > 0xffff ? `\\U${hex(point, 8)}` : `\\u${hex(point, 4)}`;
    }),
};

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
