import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Args } from '../../src/cli/args.ts';
import { confirm } from '../../src/cli/confirm.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import type { FakeHost } from '../helpers/fake-host.ts';

const QUESTION = { warning: 'This deletes 3 rows.', phraseIs: 'the name of the database', phrase: 'airflow' };

function asked(host: FakeHost, given: readonly string[] = []): Promise<boolean> {
  const args: Args = {
    backup: '',
    given: () => false,
    switch: (name) => given.includes(name),
    text: () => undefined,
    list: () => undefined,
    count: () => undefined,
  };
  return confirm(
    { args, host, report: () => undefined, say: () => undefined, signal: host.signal },
    QUESTION,
  );
}

const onTerminal = (): FakeHost => fakeHost([], { terminal: { columns: 80 } });

describe('confirmation', () => {
  test('--yes answers without asking', async () => {
    const host = fakeHost([]);
    expect(await asked(host, ['yes'])).toBe(true);
    expect(host.stderr.text()).toBe('');
  });

  test('on a terminal it says what to type, and that very word goes on', async () => {
    const host = onTerminal();
    const answer = asked(host);
    host.stdin.write('airflow\n');
    expect(await answer).toBe(true);
    expect(host.stderr.text()).toContain(
      'This deletes 3 rows.\nType the name of the database, airflow, to go on',
    );
  });

  test.each(['y', 'yes', 'Airflow', 'airflow2', ''])('%j is no confirmation', async (typed) => {
    const host = onTerminal();
    const answer = asked(host);
    host.stdin.write(`${typed}\n`);
    await expect(answer).rejects.toMatchObject({ kind: 'refused' });
  });

  test('the end of input is no confirmation', async () => {
    const host = onTerminal();
    const answer = asked(host);
    host.stdin.end();
    await expect(answer).rejects.toMatchObject({ kind: 'refused' });
  });

  test('without a terminal, and with --json, nobody is asked', async () => {
    const piped = fakeHost([]);
    piped.stdin.write('airflow\n');
    await expect(asked(piped)).rejects.toMatchObject({
      kind: 'refused',
      next: expect.stringMatching('--yes') as string,
    });
    const json = onTerminal();
    await expect(asked(json, ['json'])).rejects.toMatchObject({ kind: 'refused' });
    expect(piped.stderr.text() + json.stderr.text()).toBe('');
  });

  test('a signal at the question ends it', async () => {
    const host = onTerminal();
    const answer = asked(host);
    await turn();
    host.controller.abort();
    await expect(answer).rejects.toMatchObject({ kind: 'interrupted' });
  });
});
