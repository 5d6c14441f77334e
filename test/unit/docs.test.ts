import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { COMMANDS } from '../../src/cli/commands/index.ts';
import { EXIT_CODES } from '../../src/cli/exit-codes.ts';
import { GLOBAL_FLAGS } from '../../src/cli/flags.ts';
import { parseCommandLine } from '../../src/cli/parse.ts';
import { toError } from '../../src/errors.ts';
import { SUPPORTED_RELEASES } from '../../src/versions/heads.ts';
import { LEFT_OUT_PREFIXES, LEFT_OUT_TABLES, TABLE_SPECS } from '../../src/tables/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface Page {
  readonly name: string;
  readonly path: string;
  readonly blocks: readonly { readonly language: string; readonly text: string }[];
  /** Everything outside code blocks. */
  readonly prose: string;
  /** Code between single backticks. */
  readonly inline: readonly string[];
}

function readPage(path: string): Page {
  const text = readFileSync(path, 'utf8');
  const fence = /^```(\w*)\n([\s\S]*?)^```$/gm;
  const blocks = [...text.matchAll(fence)].map(([, language = '', body = '']) => ({ language, text: body }));
  const prose = text.replace(fence, '');
  const inline = [...prose.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code.replaceAll(/\s+/g, ' '));
  return { name: relative(ROOT, path), path, blocks, prose, inline };
}

const markdown = (folder: string, recursive: boolean): string[] =>
  readdirSync(folder, { recursive, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));

const PAGES = [...markdown(ROOT, false), ...markdown(join(ROOT, 'docs'), true)].sort().map(readPage);

/** Words of a shell command as far as documentation needs them: quotes, comments, variables as they stand. */
function shellWords(line: string): readonly string[] {
  const words = line.matchAll(/(?:^|\s)#.*$|((?:"[^"]*"|'[^']*'|\\.|&&|\|\||[;|]|[^\s"'\\;|&])+)/g);
  return [...words].flatMap(([, word]) => (word === undefined ? [] : [word.replaceAll(/["']/g, '')]));
}

/** The argument lists of all calls of lifeboat in one line of shell. */
function callsIn(line: string): readonly (readonly string[])[] {
  const calls: string[][] = [];
  let current: string[] | undefined;
  let first = true;
  for (const word of shellWords(line)) {
    if (['&&', '||', ';', '|'].includes(word)) {
      current = undefined;
      first = true;
    } else if (current !== undefined) {
      current.push(word);
    } else if (first && (word === 'npx' || /^[A-Z_]+=/.test(word))) {
      continue;
    } else {
      if (first && word === 'lifeboat') calls.push((current = []));
      first = false;
    }
  }
  return calls;
}

function calls(page: Page): readonly (readonly string[])[] {
  return page.blocks.flatMap(({ language, text }) => {
    const lines = text.replaceAll('\\\n', ' ').split('\n');
    if (language === 'sh') return lines.flatMap(callsIn);
    if (language !== 'console') return [];
    return lines.flatMap((line) => (line.startsWith('$ ') ? callsIn(line.slice(2)) : []));
  });
}

/** Why a command line would end with 2, or undefined. */
function usageProblem(argv: readonly string[]): string | undefined {
  try {
    parseCommandLine(argv, { commands: COMMANDS, version: '0', width: 100 }, { command: null });
    return undefined;
  } catch (thrown) {
    return `lifeboat ${argv.join(' ')}: ${toError(thrown).message}`;
  }
}

/** GitHub's name for a heading. */
function slug(heading: string): string {
  return heading
    .replaceAll(/[`*]/g, '')
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');
}

function brokenLinks(page: Page): readonly string[] {
  const links = [...page.prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? page.path : resolve(dirname(page.path), path);
      if (!existsSync(target)) return true;
      if (anchor === undefined) return false;
      const headings = [...readPage(target).prose.matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => slug(text));
      return !headings.includes(anchor);
    });
}

const FLAGS = new Set(
  [...COMMANDS.flatMap((command) => command.flags), ...Object.values(GLOBAL_FLAGS).flat()]
    .map((flag) => `--${flag.name}`)
    .concat('--help', '--version'),
);
/** Flags of npm, pg_dump and docker that the prose names. */
const FOREIGN_FLAGS = [
  // Of pip.
  ...['--no-deps', '--find-links', '--no-index'],
  ...['--omit', '--ignore-scripts', '--no-owner', '--single-transaction'],
  ...['--detach', '--wait'],
  // Of airflow connections import.
  '--overwrite',
];

const SCRIPTS = Object.keys(
  (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }).scripts,
);

describe('the words that the checks below read', () => {
  test('calls are found behind variables, pipes and npx, and not in comments', () => {
    expect(callsIn("A=1 lifeboat list && npx lifeboat verify 'a b' | lifeboat show x # lifeboat no")).toEqual(
      [['list'], ['verify', 'a b'], ['show', 'x']],
    );
    expect(callsIn('echo lifeboat list')).toEqual([]);
  });

  test('a wrong command line is told', () => {
    expect(usageProblem(['restore', 'latest', '--cleann'])).toContain('no flag --cleann');
    expect(usageProblem(['restore', 'latest', '--clean'])).toBeUndefined();
  });

  test('pages and commands were found', () => {
    expect(PAGES.map((page) => page.name)).toContain('README.md');
    expect(PAGES.flatMap(calls).length).toBeGreaterThan(25);
  });
});

describe.each(PAGES)('$name', (page) => {
  test('links lead to files and headings that exist', () => {
    expect(brokenLinks(page)).toEqual([]);
  });

  test('its commands are understood by the command line', () => {
    const problems = calls(page).map(usageProblem);
    expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
  });

  test('commands and flags in its text exist', () => {
    const names = COMMANDS.map((command) => command.name);
    const commands = page.inline.flatMap((code) => /^lifeboat ([a-z]+)/.exec(code)?.[1] ?? []);
    expect(commands.filter((name) => !names.includes(name))).toEqual([]);
    const flags = page.inline.flatMap((code) => code.match(/(?<![\w-])--[a-z][a-z0-9-]*/g) ?? []);
    expect(flags.filter((flag) => !FLAGS.has(flag) && !FOREIGN_FLAGS.includes(flag))).toEqual([]);
  });

  test('scripts and source files that it names exist', () => {
    const code = [...page.inline, ...page.blocks.map((block) => block.text)];
    const scripts = code.flatMap((text) =>
      [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name),
    );
    expect(scripts.filter((name) => !SCRIPTS.includes(name))).toEqual([]);
    const paths = page.inline.filter((text) => /^(src|test|docs|schema|scripts|bench)\/[\w./-]+$/.test(text));
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

function page(name: string): Page {
  const found = PAGES.find((one) => one.name === name);
  if (found === undefined) throw new Error(`There is no page ${name}.`);
  return found;
}

describe('tables that repeat what the code knows', () => {
  test.each(['README.md', 'docs/operations.md'])('%s has every exit code', (name) => {
    const codes = [...page(name).prose.matchAll(/^\| (\d+) \|/gm)].map(([, code = '']) => Number(code));
    expect(codes).toEqual(Object.values(EXIT_CODES).sort((a, b) => a - b));
  });

  test('README.md has every Alembic head', () => {
    const heads = page('README.md').inline.filter((code) => /^[0-9a-f]{12}$/.test(code));
    expect([...new Set(heads)].sort()).toEqual(SUPPORTED_RELEASES.map((release) => release.head).sort());
  });

  test('docs/peers.md names the test of each bug as it is called, and none is a todo', () => {
    const source = readFileSync(join(ROOT, 'test/integration/peer-bugs.test.ts'), 'utf8');
    const tests = [...source.matchAll(/^test\('(B\d+): (.+)', async/gm)].map(([, bug, title]) => [
      bug,
      title,
    ]);
    const told = [...page('docs/peers.md').prose.matchAll(/^\| (B\d+): [^|]+ \| (.+) \|$/gm)];
    expect(told.map(([, bug, title]) => [bug, title])).toEqual(tests);
    const range = (from: number, to: number): number[] =>
      Array.from({ length: to - from + 1 }, (_, at) => from + at);
    const wanted = [...range(1, 14), ...range(16, 19), ...range(21, 32), 39, 40];
    expect(tests.map(([bug]) => bug)).toEqual(wanted.map((number) => `B${number}`));
  });

  test('docs/restore.md has every table that is backed up or left out', () => {
    const named = page('docs/restore.md').inline.map((code) => code.replace(/\*$/, ''));
    const tables = [...TABLE_SPECS, ...LEFT_OUT_TABLES, ...LEFT_OUT_PREFIXES].map((table) => table.name);
    expect(tables.filter((name) => !named.includes(name) && !name.startsWith('ab_'))).toEqual([]);
  });
});
