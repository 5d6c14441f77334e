import yargs from 'yargs';
import type { Argv, Options } from 'yargs';
import { LifeboatError, toError } from '../errors.ts';
import { createArgs, readValue } from './args.ts';
import type { Args } from './args.ts';
import type { Command } from './command.ts';
import {
  GLOBAL_FLAGS,
  POSITIONAL_BACKUP,
  POSITIONAL_DIRECTORY,
  POSITIONAL_METHOD,
  POSITIONAL_OTHER,
  POSITIONAL_PATH,
} from './flags.ts';
import type { Flag } from './flags.ts';
import { checkSwitches, explain } from './usage.ts';

/** What a command line asks for: a text, or a command with its values. */
export type Request =
  | { readonly kind: 'text'; readonly text: string; readonly ending: 'done' | 'usage' }
  | { readonly kind: 'run'; readonly command: Command; readonly args: Args };

export interface ParseOptions {
  readonly commands: readonly Command[];
  readonly version: string;
  readonly width: number;
}

/** Told beside a usage error, so that the summary line can name the command that was meant. */
export interface Attempt {
  command: string | null;
}

const GLOBALS: readonly Flag[] = Object.values(GLOBAL_FLAGS).flat();

const INTRODUCTION = `Usage: $0 COMMAND [flags]

Backs up the metadata database of an Apache Airflow environment, verifies it and restores it.`;

const EPILOGUE = `$0 COMMAND --help tells more. Passwords and keys come from the environment or from files:
PGPASSWORD, LIFEBOAT_FERNET_KEY and others, see docs/cli.md.`;

/** Throws a LifeboatError of kind usage for every command line that is not understood to the last word. */
export function parseCommandLine(argv: readonly string[], options: ParseOptions, attempt: Attempt): Request {
  let chosen: Request | undefined;
  let text = '';
  const parser = buildParser(options, (command, values) => {
    if (values === undefined) attempt.command = command.name;
    else chosen = { kind: 'run', command, args: collect(command, values) };
  });
  try {
    // With a callback yargs hands over the help and the version instead of printing them.
    // A bare `lifeboat` gets the help too, as an answer to a mistake.
    void parser.parse(argv.length === 0 ? ['--help'] : [...argv], {}, (_error, _argv, output) => {
      text = output;
    });
  } catch (thrown) {
    throw asUsageError(toError(thrown), argv, options.commands, attempt.command);
  }
  if (text !== '') return { kind: 'text', text: `${text}\n`, ending: argv.length === 0 ? 'usage' : 'done' };
  if (chosen === undefined) {
    throw new LifeboatError('usage', 'No command is named.', {
      next: 'See lifeboat --help for the commands.',
    });
  }
  checkSwitches(argv, flagsOf((chosen as Request & { kind: 'run' }).command));
  return chosen;
}

type OnCommand = (command: Command, values?: Readonly<Record<string, unknown>>) => void;

function buildParser(options: ParseOptions, onCommand: OnCommand): Argv {
  const parser = yargs([])
    .scriptName('lifeboat')
    .usage(INTRODUCTION)
    .epilogue(EPILOGUE)
    // Without it the help mixes our English with yargs' words in the language of LC_ALL.
    .detectLocale(false)
    .version(options.version)
    .exitProcess(false)
    .showHelpOnFail(false)
    .fail((message, error) => {
      throw (error as Error | undefined) ?? new Error(message);
    })
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'greedy-arrays': false,
      // A backup id's prefix may be all digits.
      'parse-positional-numbers': false,
    })
    .strict()
    .wrap(options.width);
  for (const flag of GLOBALS) parser.option(flag.name, yargsOption(flag));
  parser.group(['help', 'version'], 'Other:');
  for (const command of options.commands) addCommand(parser, command, onCommand);
  return parser;
}

function addCommand(parser: Argv, command: Command, onCommand: OnCommand): void {
  parser.command(
    positions(command).form,
    command.summary,
    (sub) => {
      onCommand(command);
      const { usage } = positions(command);
      sub.usage(`Usage: $0 ${usage} [flags]\n\n${command.details ?? command.summary}`);
      sub.epilogue(examplesText(command));
      for (const { name, describe } of positions(command).taken) {
        sub.positional(name, { type: 'string', describe });
      }
      for (const flag of command.flags) sub.option(flag.name, yargsOption(flag));
      for (const flag of unusedGlobals(command)) sub.hide(flag.name);
      return sub;
    },
    (values) => {
      onCommand(command, values);
    },
  );
}

/** The command with its positions, as yargs reads it and as people do. */
function positions(command: Command): {
  form: string;
  usage: string;
  taken: readonly (typeof POSITIONAL_BACKUP)[];
} {
  const { name, takesBackup, takesDirectory, takesOther, takesRequest } = command;
  if (takesDirectory === true) {
    return { form: `${name} <dir>`, usage: `${name} DIR`, taken: [POSITIONAL_DIRECTORY] };
  }
  if (takesRequest === true) {
    const taken = [POSITIONAL_METHOD, POSITIONAL_PATH];
    return { form: `${name} <method> <path>`, usage: `${name} METHOD PATH`, taken };
  }
  if (takesBackup !== true) return { form: name, usage: name, taken: [] };
  if (takesOther !== true) {
    return { form: `${name} <backup>`, usage: `${name} BACKUP`, taken: [POSITIONAL_BACKUP] };
  }
  const taken = [POSITIONAL_BACKUP, POSITIONAL_OTHER];
  return { form: `${name} <backup> [other]`, usage: `${name} BACKUP [OTHER]`, taken };
}

/** Not yargs' own table of examples, which breaks a command line into two columns' worth of pieces. */
function examplesText(command: Command): string {
  return ['Examples:', ...command.examples.map(([example, says]) => `  # ${says}\n  ${example}`)].join('\n');
}

function unusedGlobals(command: Command): readonly Flag[] {
  const used = [...command.uses, 'output' as const].flatMap((group) => GLOBAL_FLAGS[group]);
  return GLOBALS.filter((flag) => !used.includes(flag));
}

function flagsOf(command: Command): readonly Flag[] {
  return [...GLOBALS, ...command.flags];
}

function yargsOption(flag: Flag): Options {
  const types = { switch: 'boolean', text: 'string', list: 'string', count: 'number' } as const;
  return {
    type: types[flag.kind],
    array: flag.kind === 'list',
    group: flag.group,
    describe: flag.describe,
    requiresArg: flag.kind !== 'switch',
    coerce: (raw: unknown) => readValue(flag, raw),
    ...(flag.choices === undefined ? {} : { choices: flag.choices }),
    ...(flag.fallback === undefined ? {} : { defaultDescription: String(flag.fallback) }),
    ...(flag.hidden === true ? { hidden: true } : {}),
  };
}

function collect(command: Command, values: Readonly<Record<string, unknown>>): Args {
  const flags = flagsOf(command);
  const given = new Map(
    flags.flatMap((flag) => (values[flag.name] === undefined ? [] : [[flag.name, values[flag.name]]])),
  );
  const backup = command.takesBackup === true ? String(values[POSITIONAL_BACKUP.name]) : '';
  if (command.takesBackup === true && backup.trim() === '') {
    throw new LifeboatError('usage', `${command.name} needs the name of a backup, and it is empty.`);
  }
  const other = command.takesOther === true ? values[POSITIONAL_OTHER.name] : undefined;
  const directory = command.takesDirectory === true ? String(values[POSITIONAL_DIRECTORY.name]) : undefined;
  if (directory?.trim() === '') {
    throw new LifeboatError('usage', `${command.name} needs a directory or an s3:// URL, and it is empty.`);
  }
  return createArgs(flags, given, {
    backup,
    other: typeof other === 'string' ? other : undefined,
    directory,
    ...(command.takesRequest === true
      ? {
          request: {
            method: String(values[POSITIONAL_METHOD.name]),
            path: String(values[POSITIONAL_PATH.name]),
          },
        }
      : {}),
  });
}

function asUsageError(
  error: Error,
  argv: readonly string[],
  commands: readonly Command[],
  attempted: string | null,
): LifeboatError {
  if (error instanceof LifeboatError) return error;
  const command = commands.find((one) => one.name === attempted);
  const flags = command === undefined ? GLOBALS : flagsOf(command);
  return explain(error.message, { argv, command, flags, commandNames: commands.map((one) => one.name) });
}
