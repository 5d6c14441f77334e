import type { ImportResult } from '../../engine/api.ts';
import type { ImportNote } from '../../engine/import/notes.ts';
import { sections } from './plan.ts';
import type { Style } from './style.ts';
import { wrap } from './table.ts';
import { bytes, counted, duration } from './units.ts';

const TITLES: Readonly<Record<ImportNote['kind'], string>> = {
  mended: 'Mended',
  lost: 'Lost: the files do not hold it',
  doubtful: 'Doubtful: the files cannot tell',
};

export function importText({ backupId, manifest, notes }: ImportResult, style: Style): string {
  const { totals, source } = manifest;
  const head = `${style.green('Imported')} ${source.environment} as ${style.bold(backupId)}: ${counted(totals.rows, 'row')} of ${counted(totals.tables, 'table')}, ${bytes(totals.bytes)}, in ${duration(manifest.durationSeconds)}.`;
  const kinds = (['mended', 'lost', 'doubtful'] as const).map((kind) =>
    notesText(
      TITLES[kind],
      notes.filter((note) => note.kind === kind),
      style,
    ),
  );
  const next = `${style.bold('Next:')} lifeboat restore ${backupId} --dry-run`;
  return sections([head, ...kinds, next]);
}

/** One line a message, since many are shared by several tables. */
function notesText(title: string, notes: readonly ImportNote[], style: Style): string {
  const byMessage = new Map<string, string[]>();
  for (const note of notes) {
    byMessage.set(note.message, [...(byMessage.get(note.message) ?? []), concerned(note)]);
  }
  if (byMessage.size === 0) return '';
  const lines = [...byMessage].map(
    ([message, what]) => `  ${wrap(`${what.join(', ')}: ${message}`, style.width, '    ')}`,
  );
  return [style.bold(title), ...lines].join('\n');
}

function concerned({ table, columns, rows, examples }: ImportNote): string {
  const where = columns === undefined ? table : `${table} (${columns.join(', ')})`;
  const named = examples === undefined || examples.length === 0 ? '' : `, such as ${examples[0] ?? ''}`;
  return rows === undefined ? where : `${where}, ${counted(rows, 'row')}${named}`;
}
