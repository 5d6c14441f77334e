import { printable } from './style.ts';
import type { Style } from './style.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Aligned columns under bold titles; the last column is not padded, so that no line ends in spaces. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style: Style,
  indent = '',
): string {
  const cells = rows.map((row) => row.map(printable));
  const widths = columns.map((column, at) =>
    Math.max(column.title.length, ...cells.map((row) => row[at]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string => {
    const padded = columns.map((column, at) => {
      const cell = row[at] ?? '';
      const width = widths[at] ?? 0;
      return column.align === 'right' ? cell.padStart(width) : cell.padEnd(width);
    });
    return `${indent}${padded.join('  ').trimEnd()}`;
  };
  const head = line(columns.map((column) => column.title));
  return [style.bold(head), ...cells.map(line)].join('\n');
}

/** "label  text" lines with the texts under each other; entries without a text are left out. */
export function facts(entries: readonly (readonly [label: string, text: string | undefined])[]): string {
  const shown = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined);
  const width = Math.max(0, ...shown.map(([label]) => label.length));
  return shown.map(([label, text]) => `${label.padEnd(width)}  ${printable(text)}`).join('\n');
}

/** Words wrapped at the width, later lines indented under the first. */
export function wrap(text: string, width: number, indent = ''): string {
  return text
    .split('\n')
    .map((line) => wrapLine(line, width, indent))
    .join(`\n${indent}`);
}

function wrapLine(text: string, width: number, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of printable(text).split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines.join(`\n${indent}`);
}

/** A painted label and its text, wrapped together, later lines indented under the label. */
export function labelled(paint: (text: string) => string, label: string, text: string, style: Style): string {
  return paint(label) + wrap(`${label} ${text}`, style.width, '  ').slice(label.length);
}

const LISTED = 20;

/** Names joined by commas; a long list says how many more there are. */
export function names(list: readonly string[], most: number = LISTED): string {
  const shown = list.slice(0, most).map(printable).join(', ');
  return list.length > most ? `${shown} and ${String(list.length - most)} more` : shown;
}
