import { describe, expect, test } from 'vitest';
import { cli } from './run-cli.ts';

const COMMANDS = [
  'backup',
  'list',
  'show',
  'verify',
  'diff',
  'drill',
  'restore',
  'activate',
  'cleanup',
  'prune',
  'export',
  'import',
  'status',
  'doctor',
  'rest',
  'demo',
] as const;

/** Of commands that report to a state machine. */
const TASK_TOKEN = ['task-token-file', 'task-token', 'heartbeat-every'];

/** Every flag that a command has of its own, which its help must list and no other. */
const OWN_FLAGS: Readonly<Record<(typeof COMMANDS)[number], readonly string[]>> = {
  backup: [
    'tables',
    'exclude-tables',
    'jobs',
    'compression',
    'max-rate',
    'label',
    'secrets',
    'seal-to',
    'secrets-from',
    'xcoms',
    ...TASK_TOKEN,
    'dry-run',
  ],
  list: [],
  show: ['runs', 'dags', 'exclude-dags', 'state', 'since', 'limit'],
  verify: ['identity-file'],
  diff: ['tables', 'identity-file'],
  drill: [
    'variables',
    'connections',
    'in-flight',
    'unreadable',
    'encrypt-clear',
    'jobs',
    'identity-file',
    ...TASK_TOKEN,
  ],
  restore: [
    'clean',
    'variables',
    'connections',
    'keep-variables',
    'keep-connections',
    'pause-state',
    'catchup',
    'tables',
    'in-flight',
    'history',
    'dags',
    'exclude-dags',
    'since',
    'unreadable',
    'encrypt-clear',
    'keep-run',
    'ignore-running',
    'via',
    'jobs',
    'identity-file',
    ...TASK_TOKEN,
    'dry-run',
    'yes',
  ],
  activate: ['dags', 'catchup', 'dry-run'],
  cleanup: ['catchup', 'keep-run', 'ignore-running', ...TASK_TOKEN, 'dry-run', 'yes'],
  prune: [
    'keep-last',
    'keep-within',
    'keep-hourly',
    'keep-daily',
    'keep-weekly',
    'keep-monthly',
    'keep-yearly',
    'min-backups',
    'dry-run',
    'yes',
  ],
  export: ['to', 'format', 'tables', 'with-secrets', 'identity-file'],
  import: ['from', 'airflow-version', 'label', 'seal-to'],
  status: ['max-age'],
  doctor: [],
  rest: ['query', 'body', 'body-file', 'output'],
  demo: [],
};

const ENVIRONMENT = ['airflow', 'schema'];
const STORAGE = ['storage', 's3-sse', 's3-kms-key', 's3-storage-class', 's3-expected-owner'];
const GLOBAL = ['json', 'debug', 'help', 'version'];
const USES: Readonly<Record<(typeof COMMANDS)[number], readonly string[]>> = {
  backup: [...ENVIRONMENT, ...STORAGE],
  list: STORAGE,
  show: STORAGE,
  verify: [...ENVIRONMENT, ...STORAGE],
  diff: [...ENVIRONMENT, ...STORAGE],
  drill: [...ENVIRONMENT, ...STORAGE],
  restore: [...ENVIRONMENT, ...STORAGE],
  activate: [...ENVIRONMENT, ...STORAGE],
  cleanup: ENVIRONMENT,
  prune: STORAGE,
  export: STORAGE,
  import: STORAGE,
  status: STORAGE,
  doctor: [...ENVIRONMENT, ...STORAGE],
  rest: ENVIRONMENT,
  demo: [],
};

function listedFlags(help: string): readonly string[] {
  return help.split('\n').flatMap((line) => /^ {2}--([a-z0-9-]+) {2}/.exec(line)?.[1] ?? []);
}

describe('help', () => {
  test('lists the commands that work, and no other', async () => {
    const { code, stdout, stderr } = await cli(['--help']);
    const listed = stdout.split('\n').flatMap((line) => /^ {2}lifeboat ([a-z]+)/.exec(line)?.[1] ?? []);
    expect({ code, stderr, listed }).toEqual({ code: 0, stderr: '', listed: COMMANDS });
  });

  test.each(COMMANDS)(
    'of %s: exactly its flags, examples, at most 100 columns, in English',
    async (command) => {
      const { code, stdout, stderr } = await cli([command, '--help']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect([...listedFlags(stdout)].sort()).toEqual(
        [...OWN_FLAGS[command], ...USES[command], ...GLOBAL].sort(),
      );
      expect(stdout).toContain(`Usage: lifeboat ${command}`);
      expect(stdout).toMatch(new RegExp(`Examples:\n {2}# .+\n {2}lifeboat ${command}`));
      expect(stdout).toContain('Show help');
      const longest = Math.max(...stdout.split('\n').map((line) => line.length));
      expect(longest).toBeLessThanOrEqual(100);
    },
  );

  test('without a command: the help on stderr and 2', async () => {
    const { code, stdout, stderr } = await cli([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Usage: lifeboat COMMAND');
  });

  test('--version', async () => {
    const { code, stdout } = await cli(['--version']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
