import eslint from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/**
 * The layers as data: what each folder of src may import besides itself and src/errors.ts. Imports point down, so
 * that a storage never learns about the engine and the engine never about the terminal.
 */
const MAY_IMPORT = {
  tables: [],
  storage: [],
  db: [],
  secrets: [],
  aws: [],
  versions: ['tables'],
  rest: ['versions', 'secrets', 'aws'],
  engine: ['tables', 'versions', 'storage', 'db', 'rest', 'secrets'],
  demo: ['tables', 'versions', 'storage', 'db', 'secrets', 'engine'],
  cli: ['tables', 'versions', 'storage', 'db', 'secrets', 'engine', 'demo', 'aws', 'rest', 'config.ts'],
};

const LAYERS = Object.keys(MAY_IMPORT);
const TYPE_ONLY_FROM_BELOW = { allowTypeImports: false };

/** Sees the clock and the process of the machine; every other layer has them passed in. */
const OUTSIDE_WORLD = [
  {
    selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']",
    message: 'The clock is passed in (ctx.now): tests and backups must agree on the time.',
  },
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: 'The clock is passed in (ctx.now): tests and backups must agree on the time.',
  },
];

const NO_PROCESS = {
  name: 'process',
  message: 'Configuration, streams and exits are passed in: a library must not read or end its host process.',
};
const NO_CONSOLE = {
  name: 'console',
  message: 'Report events; src/cli decides how and where they are shown.',
};
const NO_PROCESS_MODULE = { name: 'node:process', message: NO_PROCESS.message };

function layerRule(layer) {
  const forbidden = [...LAYERS, 'config.ts', 'index.ts'].filter(
    (other) => other !== layer && !MAY_IMPORT[layer].includes(other),
  );
  const patterns = forbidden.map((other) => ({
    regex: other.endsWith('.ts') ? `^(\\.\\./)+${other.replace('.', '\\.')}$` : `^(\\.\\./)+${other}/`,
    message: `src/${layer} may import ${['itself', ...MAY_IMPORT[layer], 'errors.ts'].join(', ')}; not ${other}: imports point down.`,
    ...TYPE_ONLY_FROM_BELOW,
  }));
  return {
    files: [`src/${layer}/**/*.ts`],
    rules: {
      '@typescript-eslint/no-restricted-imports': ['error', { paths: [NO_PROCESS_MODULE], patterns }],
    },
  };
}

export default defineConfig(
  { ignores: ['dist/', 'coverage/', '.cache/', 'node_modules/', 'dags-bridge/'] },
  eslint.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js', 'scripts/*.mjs'] } },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // A rejected promise that nobody awaits ends the process or, worse, a backup that looks complete.
      '@typescript-eslint/no-floating-promises': 'error',
      // An async callback where a plain one is expected loses its rejection.
      '@typescript-eslint/no-misused-promises': 'error',
      // Types vanish at run time: an import that stays would load the AWS SDK to print a version.
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      // One any switches the compiler off for everything that it touches.
      '@typescript-eslint/no-explicit-any': 'error',
      // Numbers and booleans in messages are meant; objects are not.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // Braceless bodies are fine on one line and a trap on two.
      curly: ['error', 'multi-line'],
      eqeqeq: 'error',
      // Interfaces of this project are called without `this`: storages and reporters are plain objects over closures.
      '@typescript-eslint/unbound-method': 'off',
      // `type` reads better for unions of literals and mapped types; both are in use.
      '@typescript-eslint/consistent-type-definitions': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      // One idea a file, one step a function: what does not fit has a second idea in it.
      'max-lines': ['error', { max: 250, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }],
    },
  },
  LAYERS.map(layerRule),
  {
    files: ['src/**/*.ts'],
    ignores: ['src/cli/**'],
    rules: {
      'no-restricted-globals': ['error', NO_PROCESS, NO_CONSOLE],
      'no-restricted-syntax': ['error', ...OUTSIDE_WORLD],
    },
  },
  {
    // Within the command line only main.ts touches the process: everything else takes a Host, so tests can run it.
    files: ['src/cli/**/*.ts'],
    ignores: ['src/cli/main.ts'],
    rules: { 'no-restricted-globals': ['error', NO_PROCESS, NO_CONSOLE] },
  },
  {
    files: ['test/**/*.ts', 'scripts/**', 'bench/**', 'examples/**', '*.ts'],
    rules: {
      // Tests assert what they index: `rows[0]!` fails as loudly as a check would.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Asymmetric matchers (expect.any, expect.stringContaining) are typed any.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      // A fake of an asynchronous interface often has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        Buffer: 'readonly',
      },
    },
  },
);
