import type { LeftOut } from '../plans.ts';

/** Names given with a note; more help nobody. */
const MAX_EXAMPLES = 5;

/**
 * Something that the import could not carry over as it was.
 * - lost: not in our backup · mended: changed so that it works · doubtful: the files cannot tell what it was
 */
export interface ImportNote {
  readonly kind: 'lost' | 'mended' | 'doubtful';
  readonly table: string;
  readonly columns?: readonly string[];
  /** Rows that it concerns; absent when the files cannot tell. */
  readonly rows?: number;
  readonly message: string;
  readonly examples?: readonly string[];
}

export interface Notes {
  /** One more row of a note; notes of one table and message are one. */
  count(note: Omit<ImportNote, 'rows' | 'examples'>, example: string): void;
  add(note: ImportNote): void;
  all(): readonly ImportNote[];
}

export function createNotes(): Notes {
  const fixed: ImportNote[] = [];
  const counted = new Map<string, { note: ImportNote; rows: number; readonly examples: string[] }>();
  return {
    add: (note) => void fixed.push(note),
    count: (note, example) => {
      const key = `${note.table} ${note.kind} ${note.message}`;
      const known = counted.get(key) ?? { note, rows: 0, examples: new Array<string>() };
      known.rows += 1;
      if (known.examples.length < MAX_EXAMPLES) known.examples.push(example);
      counted.set(key, known);
    },
    all: () => [
      ...[...counted.values()].map(({ note, rows, examples }) => ({ ...note, rows, examples })),
      ...fixed,
    ],
  };
}

/** How a note stands in the manifest and in `show`. */
export function noteAsLeftOut({ kind, table, columns, rows, message, examples }: ImportNote): LeftOut {
  const named = examples === undefined || examples.length === 0 ? '' : ` (${examples.join(', ')})`;
  const counted = rows === undefined ? '' : `${rows} ${rows === 1 ? 'row' : 'rows'} `;
  return {
    table,
    ...(columns === undefined ? {} : { columns }),
    reason: `import, ${counted}${kind}: ${message}${named}`,
  };
}
