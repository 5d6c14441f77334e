import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { TOOL } from '../../src/engine/tool.ts';

test('the Python package has the version of the engine in it', () => {
  const text = readFileSync(
    new URL('../../dags-bridge/airflow_lifeboat/version.py', import.meta.url),
    'utf8',
  );
  expect(text).toContain(`\nVERSION = '${TOOL.version}'\n`);
});
