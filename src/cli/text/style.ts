import type { OutputStream } from '../host.ts';

/** How text for people may look on one stream. */
export interface Style {
  /** Columns of the terminal; 100 where there is none. */
  readonly width: number;
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly green: (text: string) => string;
  /** The clock, for ages such as "3 minutes ago". */
  readonly now: () => Date;
}

const WIDTH_WITHOUT_TERMINAL = 100;

/** Help is wrapped for reading: never wider than 100 columns, and on a narrow terminal as wide as that. */
export function helpWidth(stream: OutputStream): number {
  return Math.min(textWidth(stream), WIDTH_WITHOUT_TERMINAL);
}

/** A terminal whose size nobody set (docker exec -t, some CI systems) says 0, which would put a word on each line. */
function textWidth(stream: OutputStream): number {
  const columns = stream.isTTY === true ? (stream.columns ?? 0) : 0;
  return columns === 0 ? WIDTH_WITHOUT_TERMINAL : columns;
}

/** Colour only on a terminal that can show it and whose owner did not switch it off (no-color.org). */
export function styleOf(
  stream: OutputStream,
  env: Readonly<Record<string, string | undefined>>,
  now: () => Date,
): Style {
  const coloured = stream.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
  const paint =
    (start: number, end: number) =>
    (text: string): string =>
      coloured ? `\u001B[${String(start)}m${text}\u001B[${String(end)}m` : text;
  return {
    width: textWidth(stream),
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    yellow: paint(33, 39),
    green: paint(32, 39),
    now,
  };
}

/** Backups and databases hold foreign text; control characters in it must not drive the reader's terminal. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replace(/[\u0000-\u001F\u007F-\u009F]/g, (character) => JSON.stringify(character).slice(1, -1));
}
