import type { ErrorKind } from '../errors.ts';

/** How a command can end. A difference is an answer, not an error: the work was done and found one. */
export type Ending = 'done' | 'difference' | ErrorKind;

/** Part of the command line's contract: a number never changes its meaning. */
export const EXIT_CODES: Readonly<Record<Ending, number>> = Object.freeze({
  done: 0,
  failed: 1,
  usage: 2,
  difference: 3,
  'not-found': 10,
  locked: 11,
  integrity: 12,
  unsupported: 13,
  refused: 14,
  interrupted: 130,
});

/** What each ending means, in the words of docs/cli.md. */
export const ENDINGS: Readonly<Record<Ending, string>> = Object.freeze({
  done: 'Done.',
  failed: 'Failed: the error says why. What was under way was rolled back.',
  usage: 'Usage or configuration: a flag, a value or a setting is wrong or missing. Nothing was changed.',
  difference:
    'Done, and a difference or an overrun was found (`diff`, `verify --airflow`, `status --max-age`, `export --with-secrets`, `restore` through a REST API that did not take everything).',
  'not-found': 'No such backup.',
  locked: 'Another run holds the lock of this environment.',
  integrity: 'Integrity: a manifest or a part is damaged, missing or not what was written.',
  unsupported: 'Unsupported Airflow version, stored format or schema drift. Told before 14.',
  refused: 'Refused for safety: history without `--clean`, no confirmation, no explicit `--airflow`.',
  interrupted: 'Interrupted by SIGINT or SIGTERM.',
});
