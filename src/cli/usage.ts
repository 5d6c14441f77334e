import { LifeboatError } from '../errors.ts';
import type { Command } from './command.ts';
import type { Flag } from './flags.ts';

export interface UsageContext {
  readonly argv: readonly string[];
  readonly command: Command | undefined;
  readonly flags: readonly Flag[];
  readonly commandNames: readonly string[];
}

/** Turns yargs' message into one sentence in the words of this command line, with the next step. */
export function explain(message: string, context: UsageContext): LifeboatError {
  const help = context.command === undefined ? 'lifeboat --help' : `lifeboat ${context.command.name} --help`;
  const see = `See ${help}.`;
  // A mistyped flag swallows the word after it, and then the BACKUP is what seems to be missing.
  const stranger = unknownFlag(context);
  if (stranger !== undefined) return explainUnknown(stranger, context, see);
  const missing = /^Not enough arguments following: (.+)$/.exec(message);
  if (missing) return usage(`--${missing[1] ?? ''} needs a value.`, see);
  if (message.startsWith('Not enough non-option arguments')) {
    if (context.command?.takesDirectory === true) return usage(`${context.command.name} needs a DIR.`, see);
    if (context.command?.takesRequest === true) return usage('rest needs a METHOD and a PATH.', see);
    const next = `Name an id, a unique prefix or latest; lifeboat list shows the backups.`;
    return usage(`${context.command?.name ?? 'The command'} needs a BACKUP.`, next);
  }
  const unknown = /^Unknown (?:arguments?|commands?): (.+)$/.exec(message);
  if (unknown) return explainUnknown((unknown[1] ?? '').split(', ')[0] ?? '', context, see);
  return usage(oneLine(message), see);
}

function flagWords(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end))
    .filter((word) => /^-+[a-z]/i.test(word))
    .map((word) => word.replace(/^-+/, '').split('=')[0] ?? '');
}

function unknownFlag({ argv, flags }: UsageContext): string | undefined {
  const known = new Set([...flags.map((flag) => flag.name), 'help', 'version']);
  return flagWords(argv).find((word) => !known.has(word));
}

function explainUnknown(word: string, context: UsageContext, see: string): LifeboatError {
  const isFlag = flagWords(context.argv).includes(word);
  if (isFlag) {
    const dashes = word.length === 1 ? '-' : '--';
    const known = context.flags.filter((flag) => flag.hidden !== true).map((flag) => flag.name);
    const near = nearest(word, [...known, 'help', 'version']);
    const where = context.command === undefined ? 'lifeboat' : context.command.name;
    return usage(
      `${where} has no flag ${dashes}${word}.`,
      near === undefined ? see : `Did you mean --${near}? ${see}`,
    );
  }
  if (context.command !== undefined) {
    return usage(`${context.command.name} does not take the word ${word}.`, see);
  }
  const near = nearest(word, context.commandNames);
  return usage(
    `There is no command ${word}.`,
    near === undefined ? see : `Did you mean lifeboat ${near}? ${see}`,
  );
}

/**
 * yargs reads `--dry-run=banana` as false and lets the last of two contradicting switches win. Both could turn a
 * rehearsal into the real thing, so they are refused.
 */
export function checkSwitches(argv: readonly string[], flags: readonly Flag[]): void {
  const names = new Set(flags.filter((flag) => flag.kind === 'switch').map((flag) => flag.name));
  const seen = new Map<string, string>();
  const end = argv.indexOf('--');
  for (const [at, word] of (end === -1 ? argv : argv.slice(0, end)).entries()) {
    const match = /^--([^=]+)(?:=(.*))?$/s.exec(word);
    const name = match?.[1];
    if (name === undefined || !names.has(name)) continue;
    const following = argv[at + 1];
    const value = match?.[2] ?? (following === 'false' ? 'false' : 'true');
    if (value !== 'true' && value !== 'false') {
      throw usage(`--${name} takes no value.`, `Write --${name}, or leave it out.`);
    }
    if (seen.has(name) && seen.get(name) !== value) {
      throw usage(
        `--${name} is given twice and says both true and false.`,
        `Write --${name} once, or leave it out.`,
      );
    }
    seen.set(name, value);
  }
}

/** The candidate within two edits, if there is one. */
function nearest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, edits: editDistance(word, candidate) }))
    .sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best !== undefined && best.edits <= Math.min(2, best.candidate.length - 2)
    ? best.candidate
    : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(b).entries()) {
      const swap = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

function usage(message: string, next: string): LifeboatError {
  return new LifeboatError('usage', message, { next });
}

function oneLine(message: string): string {
  const line = message.replace(/\s+/g, ' ').trim();
  return line.endsWith('.') ? line : `${line}.`;
}
