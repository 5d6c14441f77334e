import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LabHome } from './lab.ts';

/** Words in a log of Airflow that mean that the restore hurt it. */
const TROUBLE =
  /IntegrityError|deadlock|zombie|Traceback \(most recent call last\)|Reset the following \d+ orphaned|not found in queued|although the (?:task|TI) says|killed externally|heartbeat is stale|UniqueViolation|ForeignKeyViolation/i;

/** What Airflow says of its own accord, restore or not. */
const HARMLESS: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  { pattern: /lab_broken\.py/, reason: 'A DAG file that airflow-lab broke on purpose.' },
];

/** How far each log of the environment has come, by file. */
export type LogMarks = ReadonlyMap<string, number>;

export function markLogs(at: LabHome): LogMarks {
  return new Map(logFiles(at).map((file) => [file, statSync(file).size]));
}

/** Passages of trouble that the logs of components and tasks got after the marks. */
export function troublesSince(at: LabHome, marks: LogMarks): readonly string[] {
  return logFiles(at).flatMap((file) => {
    const lines = readFileSync(file)
      .subarray(marks.get(file) ?? 0)
      .toString('utf8')
      .split('\n');
    return lines.flatMap((line, index) => {
      if (!TROUBLE.test(line)) return [];
      const passage = lines.slice(Math.max(0, index - 3), index + 25).join('\n');
      if (HARMLESS.some(({ pattern }) => pattern.test(passage))) return [];
      return [`${file.slice(at.home.length + 1)}:\n${passage}`];
    });
  });
}

function logFiles(at: LabHome): readonly string[] {
  const live = readdirSync(at.home).filter((name) => /^live-.*\.log$/.test(name));
  const tasks = readdirSync(join(at.home, 'logs'), { recursive: true, encoding: 'utf8' })
    // The processor's own logs hold what the DAG files print, which is the same in every environment.
    .filter((name) => name.endsWith('.log') && !/^(scheduler|dag_processor)/.test(name))
    .map((name) => join('logs', name));
  return [...live, ...tasks].map((name) => join(at.home, name)).filter((file) => statSync(file).isFile());
}
