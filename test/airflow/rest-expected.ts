import { canonical } from './dump.ts';
import type { Row } from './dump.ts';

/** Of a source and a target: what the restore was and said. */
export interface Restored {
  /** What the backup was made of. */
  readonly from: 'rest' | 'database';
  /** Of the target. */
  readonly release: string;
  readonly backupId: string;
  /** DAGs that stay paused, since letting them go would start runs of the past. */
  readonly held: readonly string[];
  /** Finished tasks that run again, as DAG_ID/RUN_ID/TASK_ID. */
  readonly again: readonly string[];
  /** The target has parsed them. */
  readonly dags: ReadonlySet<string>;
}

export interface Expected {
  readonly section: string;
  readonly reason: string;
  /** Absent: of backups of both kinds. */
  readonly from?: Restored['from'];
  /** Of these releases alone: `3.0.`, `2.`; absent: of all. */
  readonly of?: readonly string[];
  /** Absent: all of the section. */
  readonly names?: readonly string[];
  /** What the target has instead; undefined: nothing. */
  readonly show: (row: Row, name: string, restored: Restored) => Row | undefined;
}

/** In the place of a value that is not compared. */
export const ANY = '(any)';

const gone = (): undefined => undefined;
const with3 = ['3.'];

/** Where a target differs from its source on purpose, and why. Everything else must be equal. */
export const EXPECTED: readonly Expected[] = [
  {
    section: 'variable',
    names: ['lab_other_fernet_key'],
    reason: 'Of another Fernet key: the API of the source cannot show it, and the backup names it.',
    show: gone,
  },
  {
    section: 'variable',
    from: 'rest',
    of: ['3.0.'],
    names: ['lab_null_val', 'lab_unencrypted_null_flag'],
    reason: 'NULL where the API of 3.0 wants a value: it answers 500, and the backup names them.',
    show: gone,
  },
  {
    section: 'variable',
    from: 'database',
    names: ['lab_null_val'],
    reason: 'The API takes no variable without a value; the plan names it.',
    show: gone,
  },
  {
    section: 'variable',
    from: 'rest',
    of: with3,
    names: ['lab_json_indent'],
    reason: 'The API of 3.x writes a JSON object anew before it shows it.',
    show: (row) => ({ ...row, val: JSON.stringify(JSON.parse(String(row.val))).replace(/([:,])/g, '$1 ') }),
  },
  {
    section: 'variable',
    from: 'rest',
    of: ['2.'],
    names: ['lab_null_val'],
    reason: 'Of v1 a value that is NULL may be one that the server cannot read; the backup names it.',
    show: gone,
  },
  {
    section: 'variable',
    of: ['2.5.'],
    reason: 'The API of 2.5 takes no description; the plan names it.',
    show: (row) => ({ ...row, description: null }),
  },
  {
    section: 'connection',
    from: 'rest',
    of: ['2.'],
    reason: 'v1 gives no passwords; the backup names all connections.',
    show: gone,
  },
  {
    section: 'variable',
    reason: 'Airflow encrypts whatever it is given.',
    show: (row) => ({ ...row, is_encrypted: true }),
  },
  {
    section: 'connection',
    of: with3,
    names: ['lab/slash.dot-dash:colon(x)', `lab odd id ü'"`],
    reason: 'Ids that 3.x does not take any more (422); the summary names them.',
    show: gone,
  },
  {
    section: 'connection',
    of: with3,
    names: ['lab_extra_not_json'],
    reason:
      'The API of 3.x answers 500 to an extra that is no JSON, and takes none (422); backup or summary name it.',
    show: gone,
  },
  {
    section: 'connection',
    of: with3,
    names: ['lab_empty_strings', 'lab_extra_nasty', 'lab_extra_spacing'],
    reason:
      'The API of 3.x writes an extra anew: other spaces and escapes, {} for an empty one, and so in its URI.',
    show: (row) => ({ ...row, extra: sameAs(row.extra), uri: sameAs(row.extra) }),
  },
  {
    section: 'connection',
    reason: 'Airflow encrypts whatever it is given.',
    show: (row) => ({
      ...row,
      is_encrypted: filled(row.password),
      is_extra_encrypted: filled(row.extra) || row.extra === sameAs(''),
    }),
  },
  {
    section: 'pool',
    from: 'rest',
    of: ['3.0.', '2.'],
    names: ['lab_unlimited'],
    reason: 'The API answers 500 to a pool without end, and the backup names it.',
    show: gone,
  },
  {
    section: 'pool',
    from: 'database',
    of: ['3.2.', '3.3.'],
    reason: '2.x has no teams.',
    show: (row) => ({ ...row, team_name: null }),
  },
  {
    section: 'asset in a queue',
    from: 'database',
    of: with3,
    reason: 'The DAGs of the lab name other URIs in 3.x; the plan names what waits.',
    show: gone,
  },
  {
    section: 'pause state',
    reason: 'The target has no file of the DAG.',
    show: (row, name, { dags }) => (dags.has(name) ? row : undefined),
  },
  {
    section: 'pause state',
    reason: 'A DAG whose catchup would start runs of the past stays paused; the plan names it.',
    show: (row, name, { held }) => (held.includes(name) ? { is_paused: true } : row),
  },
  {
    section: 'unfinished run',
    reason: 'A run that is asked for waits in the queue, and is manual.',
    show: (row) => ({ ...row, state: 'queued', run_type: MANUAL }),
  },
  {
    section: 'unfinished run',
    reason:
      'Its note says where it comes from; what people wrote stands above, as long as 1000 characters allow.',
    show: (row, name, { backupId }) => ({ ...row, note: notedIn(row.note, name, backupId) }),
  },
  {
    section: 'unfinished run',
    reason: 'What had not ended begins anew, and so does what the plan says.',
    show: (row, name, { again }) => ({ ...row, tasks: statesIn(row.tasks as Row, name, again) }),
  },
  {
    section: 'unfinished run',
    from: 'database',
    of: with3,
    reason: 'What 2.x calls execution date; its runs have no date from which they may start, so that is now.',
    show: ({ execution_date, ...row }) => ({ ...row, logical_date: execution_date, run_after: ANY }),
  },
  {
    section: 'unfinished run',
    of: ['2.5.', '2.6.', '2.7.', '2.8.'],
    reason: 'Before 2.9 Airflow infers the interval from the date.',
    show: (row) => ({ ...row, data_interval_start: ANY, data_interval_end: ANY }),
  },
  {
    section: 'asset in a queue',
    from: 'rest',
    of: ['2.5.', '2.6.', '2.7.', '2.8.'],
    reason: 'The API neither tells what is queued nor takes events before 2.9.',
    show: gone,
  },
  {
    section: 'unfinished run',
    of: ['2.', '3.0.', '3.1.', '3.2.'],
    reason: 'No XCom can be written as it was.',
    show: (row) => ({ ...row, xcoms: [] }),
  },
];

const MANUAL = 'manual';
const ENDED = ['success', 'failed', 'skipped'];

/** Equal to every JSON text of this value, in the place of such a text. */
export function sameAs(extra: unknown): string {
  return `JSON of ${canonical(JSON.parse(extra === '' ? '{}' : String(extra)))}`;
}

const filled = (value: unknown): boolean => value !== null && value !== '';

function notedIn(note: unknown, name: string, backupId: string): string {
  const ours = `Restored by Lifeboat from backup ${backupId}, where it was ${name.split(' / ')[1] ?? ''}.`;
  return typeof note === 'string' && note !== '' ? `${note.slice(0, 999 - ours.length)}\n${ours}` : ours;
}

function statesIn(tasks: Row, name: string, again: readonly string[]): Row {
  const isKept = (task: string, state: unknown): boolean =>
    ENDED.includes(String(state)) &&
    !again.includes(`${name.replace(' / ', '/')}/${task.replace('[-1]', '')}`);
  return Object.fromEntries(
    Object.entries(tasks).map(([task, state]) => [task, isKept(task, state) ? state : null]),
  );
}
