import { describe, expect, test } from 'vitest';
import { parseGivenSecrets } from '../../src/engine/rest/given.ts';

describe('secrets that a task hands over', () => {
  const given = parseGivenSecrets(
    JSON.stringify({
      variables: { plain: 'v', empty: '', gone: null, __proto__x: 'odd' },
      connections: {
        record: { password: 'p', extra: '{"a": 1}', host: 'ignored' },
        half: { password: null },
        uri: 'postgres://user:p%C3%A4ss%2F@host:5432/db?sslmode=require',
        whole: 'http://:only@host?__extra__=%7B%22a%22%3A%20%5B1%5D%7D',
        bare: 'http://host',
        gone: null,
      },
    }),
  );
  test.each([
    ['variable', 'plain', 'val', 'v'],
    ['variable', 'empty', 'val', ''],
    ['variable', 'gone', 'val', undefined],
    ['variable', 'toString', 'val', undefined],
    ['variable', '__proto__x', 'val', 'odd'],
    ['connection', 'plain', 'val', undefined],
    ['connection', 'record', 'password', 'p'],
    ['connection', 'record', 'extra', '{"a": 1}'],
    ['connection', 'record', 'host', undefined],
    ['connection', 'half', 'password', null],
    ['connection', 'half', 'extra', undefined],
    ['connection', 'uri', 'password', 'päss/'],
    ['connection', 'uri', 'extra', '{"sslmode":"require"}'],
    ['connection', 'whole', 'password', 'only'],
    ['connection', 'whole', 'extra', '{"a": [1]}'],
    ['connection', 'bare', 'password', null],
    ['connection', 'bare', 'extra', null],
    ['connection', 'gone', 'password', undefined],
  ])('%s %s, %s', (table, row, column, value) => {
    expect(given.valueOf(table, row, column)).toBe(value);
  });

  test.each([
    ['{"variables": {"k": "hunter2"', 'it is not JSON'],
    ['["hunter2"]', 'it is no JSON object'],
    ['{"variables": "hunter2"}', '"variables" is no object'],
    ['{"variables": {"hunter2": 1}}', 'a variable is no string'],
    ['{"connections": {"hunter2": ["hunter2"]}}', 'a connection is no object'],
    ['{"connections": {"c": {"extra": {"token": "hunter2"}}}}', 'the extra of a connection is no string'],
    ['{"connections": {"c": "hunter2 is no uri"}}', 'a connection is no URI'],
  ])('%s is refused without a word of it', (text, problem) => {
    let thrown: unknown;
    try {
      parseGivenSecrets(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ kind: 'usage', message: expect.stringContaining(problem) as string });
    expect(`${String(thrown)}${JSON.stringify(thrown)}`).not.toContain('hunter2');
  });
});
