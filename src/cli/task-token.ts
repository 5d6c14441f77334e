import { readFile } from 'node:fs/promises';
import { LifeboatError, toError } from '../errors.ts';
import type { Args } from './args.ts';
import type { Command } from './command.ts';
import type { Flag } from './flags.ts';
import type { Host } from './host.ts';

const GROUP = 'Step Functions:';

/** Of commands that report to a state machine. */
export const TASK_TOKEN_FLAGS: readonly Flag[] = [
  {
    name: 'task-token-file',
    kind: 'text',
    group: GROUP,
    describe:
      'File with the task token of a state machine that waits for this command; else LIFEBOAT_TASK_TOKEN',
  },
  {
    name: 'task-token',
    kind: 'text',
    group: GROUP,
    describe: 'The task token itself, for use by hand: ps shows it to every user of the machine',
  },
  {
    name: 'heartbeat-every',
    kind: 'text',
    group: GROUP,
    fallback: '30s',
    describe: 'Time between heartbeats, such as 30s; at most a third of HeartbeatSeconds of the state',
  },
];

export const TASK_TOKEN_IN_ARGV = {
  event: 'warning',
  code: 'task-token-in-argv',
  message: 'A task token stands on the command line, where ps showed it to every user of this machine.',
  next: 'Put it into LIFEBOAT_TASK_TOKEN or a file for --task-token-file.',
} as const;

/** As long as Step Functions makes them. */
const LONGEST = 2048;

/** Every token that the process was started with, to keep it out of all that is printed. */
export function tokensOf({ argv, env }: Pick<Host, 'argv' | 'env'>): string[] {
  const words = argv.flatMap((word, at) => {
    if (word === '--task-token') return [argv[at + 1] ?? ''];
    return word.startsWith('--task-token=') ? [word.slice('--task-token='.length)] : [];
  });
  return [...words, env.LIFEBOAT_TASK_TOKEN?.trim() ?? ''].filter((word) => word !== '');
}

/** The token that this command has to report to, or undefined. The command must have the flags. */
export async function resolveTaskToken(args: Args, env: Host['env']): Promise<string | undefined> {
  const [file, typed] = [args.text('task-token-file'), args.text('task-token')];
  if (file !== undefined && typed !== undefined) {
    throw usage('--task-token-file and --task-token exclude each other.', 'Give one of them.');
  }
  const token = (file === undefined ? (typed ?? env.LIFEBOAT_TASK_TOKEN) : await readToken(file))?.trim();
  if (token === undefined || (token === '' && file === undefined)) return undefined;
  if (token === '' || token.length > LONGEST || /\s/.test(token)) {
    throw usage(
      'The task token is not one.',
      'Pass it on as Step Functions gave it ($$.Task.Token), and nothing else.',
    );
  }
  return token;
}

async function readToken(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    const { code } = toError(thrown) as NodeJS.ErrnoException;
    throw usage(
      `--task-token-file ${file} cannot be read: ${code ?? 'unknown reason'}.`,
      'Check the path and its rights.',
    );
  }
}

export function reportsToStepFunctions(command: Command): boolean {
  return command.flags.some((flag) => TASK_TOKEN_FLAGS.includes(flag));
}

function usage(message: string, next: string): LifeboatError {
  return new LifeboatError('usage', message, { next });
}
