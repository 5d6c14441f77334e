import type { LifeboatEvent, Phase } from '../../engine/events.ts';
import { printable } from '../text/style.ts';
import { bytes, clock, count } from '../text/units.ts';

export type ProgressEvent = Extract<LifeboatEvent, { event: 'progress' }>;

const PHASES: Readonly<Record<Phase, string>> = {
  check: 'Checking',
  backup: 'Backing up',
  verify: 'Verifying',
  clean: 'Cleaning',
  load: 'Loading',
  finish: 'Finishing',
  prune: 'Pruning',
  compare: 'Comparing',
  export: 'Exporting',
};

/** Remembers when each phase began, which is all that rate and time left need. */
export interface Progress {
  /** One line of at most `width` characters. */
  line(event: ProgressEvent, now: Date, width: number): string;
}

export function createProgress(): Progress {
  let phase: Phase | undefined;
  let began = 0;
  return {
    line(event, now, width) {
      if (event.phase !== phase) {
        phase = event.phase;
        began = now.getTime();
      }
      return progressLine(event, (now.getTime() - began) / 1000, width);
    },
  };
}

/** A rate over less than this is noise: the first chunk arrives at once. */
const STEADY_SECONDS = 1;

export function progressLine(event: ProgressEvent, seconds: number, width: number): string {
  const done = fraction(event);
  const parts = [
    `${PHASES[event.phase]} ${printable(event.table)}`,
    done === undefined ? undefined : `${String(Math.floor(done * 100))}%`,
    `${count(event.rows)} rows`,
    bytes(event.bytes),
    seconds < STEADY_SECONDS ? undefined : `${bytes(event.bytes / seconds)}/s`,
    done === undefined || done === 0 || seconds < STEADY_SECONDS
      ? undefined
      : `${clock((seconds / done) * (1 - done))} left`,
  ];
  const line = parts.filter((part) => part !== undefined).join('  ');
  // A line as wide as the terminal wraps, and then \r does not reach its beginning.
  return line.length < width ? line : `${line.slice(0, Math.max(0, width - 2))}…`;
}

/** Between 0 and 1. The totals are estimates and may be overrun. */
function fraction(event: ProgressEvent): number | undefined {
  if (event.totalBytes !== undefined && event.totalBytes > 0) {
    return Math.min(1, event.bytes / event.totalBytes);
  }
  if (event.totalRows !== undefined && event.totalRows > 0) return Math.min(1, event.rows / event.totalRows);
  return undefined;
}

/** One finished table, for logs without a terminal. */
export function tableLine(event: Extract<LifeboatEvent, { event: 'table' }>): string {
  const rate = event.seconds >= STEADY_SECONDS ? `, ${bytes(event.bytes / event.seconds)}/s` : '';
  const size = `${count(event.rows)} rows, ${bytes(event.bytes)}`;
  return `${PHASES[event.phase]} ${printable(event.table)}: ${size} in ${event.seconds.toFixed(1)} s${rate}`;
}
