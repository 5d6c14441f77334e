import { LifeboatError } from '../errors.ts';
import type { Flag } from './flags.ts';

/** The checked values of one command line. A name that the command does not declare is a bug, and throws. */
export interface Args {
  /** The BACKUP that was named; empty for commands without one. */
  readonly backup: string;
  /** The second backup, where the command takes one and it was named. */
  readonly other?: string;
  /** The directory or s3:// URL that was named instead of a backup. */
  readonly directory?: string;
  /** The method and the path, where the command takes them. */
  readonly request?: { readonly method: string; readonly path: string };
  /** It was on the command line, and is no fallback. */
  given(name: string): boolean;
  switch(name: string): boolean;
  text(name: string): string | undefined;
  list(name: string): readonly string[] | undefined;
  count(name: string): number | undefined;
}

/** The words of a command line that are no flags. */
export type Positions = Pick<Args, 'backup' | 'request'> & {
  readonly other?: string | undefined;
  readonly directory?: string | undefined;
};

/** Values by flag name, absent flags left out; fallbacks are applied here and nowhere else. */
export function createArgs(
  flags: readonly Flag[],
  values: ReadonlyMap<string, unknown>,
  { backup, other, directory, request }: Positions,
): Args {
  const kinds = new Map(flags.map((flag) => [flag.name, flag]));
  function value(name: string, kind: Flag['kind']): unknown {
    const flag = kinds.get(name);
    if (flag?.kind !== kind) throw new Error(`--${name} is not a ${kind} flag of this command`);
    return values.get(name) ?? flag.fallback;
  }
  return {
    backup,
    ...(directory === undefined ? {} : { directory }),
    ...(other === undefined ? {} : { other }),
    ...(request === undefined ? {} : { request }),
    given: (name) => {
      if (!kinds.has(name)) throw new Error(`--${name} is not a flag of this command`);
      return values.get(name) !== undefined;
    },
    switch: (name) => value(name, 'switch') === true,
    text: (name) => value(name, 'text') as string | undefined,
    list: (name) => value(name, 'list') as readonly string[] | undefined,
    count: (name) => value(name, 'count') as number | undefined,
  };
}

/** One raw value of yargs, checked and in its final form. `undefined` means that the flag was not given. */
export function readValue(flag: Flag, raw: unknown): unknown {
  if (raw === undefined) return undefined;
  if (flag.kind === 'list') return readList(flag, raw);
  if (Array.isArray(raw)) {
    if (flag.kind === 'switch') return raw.at(-1);
    throw usage(`--${flag.name} is given more than once; it takes one value.`);
  }
  if (flag.kind === 'switch') return raw;
  if (flag.kind === 'count') return readCount(flag, raw);
  return readText(flag, typeof raw === 'string' ? raw : '');
}

function readList(flag: Flag, raw: unknown): readonly string[] {
  const words = (Array.isArray(raw) ? raw : [raw]).flatMap((word) =>
    flag.whole === true ? [String(word)] : String(word).split(','),
  );
  const names = words.map((word) => word.trim());
  if (names.includes('')) throw usage(`--${flag.name} holds an empty name.`);
  return names;
}

function readCount(flag: Flag, raw: unknown): number {
  if (typeof raw !== 'number' || !Number.isSafeInteger(raw) || raw < 1) {
    throw usage(`--${flag.name} needs a whole number of at least 1.`);
  }
  return raw;
}

function readText(flag: Flag, raw: string): string {
  if (raw.trim() === '') throw usage(`--${flag.name} is empty.`);
  if (flag.choices === undefined) return raw;
  const wanted = raw.toLowerCase();
  const choice = flag.choices.find((one) => one.toLowerCase() === wanted) ?? flag.aliases?.[wanted];
  if (choice === undefined) throw usage(`--${flag.name} takes ${flag.choices.join(', ')}, not ${raw}.`);
  return choice;
}

function usage(message: string): LifeboatError {
  return new LifeboatError('usage', message);
}
