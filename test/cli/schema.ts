import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'vitest';
import { jsonLines } from './run-cli.ts';
import type { CliResult, JsonLine } from './run-cli.ts';

const schema = JSON.parse(
  readFileSync(new URL('../../schema/events-v1.schema.json', import.meta.url), 'utf8'),
) as object;
const isEvent = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false }).compile(schema);

/** Checks every line of a --json run against the published schema, and the exit code against the summary. */
export function checkedLines(result: CliResult): {
  readonly lines: readonly JsonLine[];
  readonly summary: JsonLine;
} {
  const found = jsonLines(result.stdout);
  for (const line of found.lines) {
    expect(isEvent(line), `${JSON.stringify(line)}: ${JSON.stringify(isEvent.errors)}`).toBe(true);
  }
  expect(found.lines.filter((line) => line.event === 'summary')).toHaveLength(1);
  expect(found.summary).toMatchObject({ exitCode: result.code, ok: result.code === 0 });
  return found;
}
