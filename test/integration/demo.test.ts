import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runDemo, type DemoContext } from '../../src/demo/demo.ts';

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'lifeboat-test-'));
  await chmod(parent, 0o755);
});
afterEach(() => rm(parent, { recursive: true, force: true }));

function context(say: DemoContext['say'], signal: AbortSignal): DemoContext {
  return { say, signal, now: () => new Date(), postgres: { temporaryFolders: [parent] } };
}

test('the demo brings every row back and leaves nothing behind', async () => {
  const story: string[] = [];
  const result = await runDemo(context((line) => story.push(line), new AbortController().signal));
  expect(result.rows).toBeGreaterThan(900);
  expect(result.changedRows.map(({ table }) => table)).toEqual([
    'log_template',
    'job',
    'trigger',
    'dag',
    'task_instance',
  ]);
  const changed = result.changedRows.reduce((sum, { rows }) => sum + rows, 0);
  // The rest are names of users, which belong to the target.
  expect(result.rows - result.identicalRows - changed).toBeLessThanOrEqual(2);
  expect(result.seconds).toBeLessThan(60);
  expect(story.join('\n')).toMatch(/Disaster.*\n.*does not exist/);
  // No line holds a URL that a password could be in.
  expect(story.join('\n')).not.toMatch(/postgresql:\/\/[^…]/);
  expect(await readdir(parent)).toEqual([]);
});

test('an interrupted demo stops with the reason and leaves nothing behind', async () => {
  const controller = new AbortController();
  const say = (line: string): void => {
    if (line.includes('lifeboat restore')) controller.abort(new Error('interrupted by a test'));
  };
  await expect(runDemo(context(say, controller.signal))).rejects.toThrow(/interrupted/i);
  expect(await readdir(parent)).toEqual([]);
});
