import type { ExportResult } from '../../engine/api.ts';
import type { Style } from './style.ts';
import { table } from './table.ts';
import { bytes, count, counted, duration } from './units.ts';

const NAMES_SHOWN = 10;

/** The files that Airflow's command line reads: of YAML only connections. */
const IMPORTS: Readonly<Record<string, string>> = {
  'variables.json': 'airflow variables import',
  'connections.json': 'airflow connections import',
  'connections.yaml': 'airflow connections import',
  'pools.json': 'airflow pools import',
};

export function exportText(result: ExportResult, style: Style): string {
  const { files } = result;
  const head = `${style.green('Exported')} ${result.backupId} into ${result.directory} in ${duration(result.seconds)}: ${counted(files.length, 'file')}.`;
  const columns = [
    { title: 'File' },
    { title: 'Rows', align: 'right' },
    { title: 'Size', align: 'right' },
  ] as const;
  const rows = files.map((one) => [one.file, count(one.rows), bytes(one.bytes)]);
  const parts = [head, ...(files.length === 0 ? [] : [table(columns, rows, style)])];
  if (result.leftOut.length > 0) parts.push(leftOutText(result, style));
  if (result.withSecrets) {
    parts.push(`${style.yellow('Secrets are in clear')} in these files: delete them when they have served.`);
  }
  const imports = files.flatMap(({ file }) => (IMPORTS[file] ? [`  ${IMPORTS[file]} ${file}`] : []));
  if (imports.length > 0) parts.push(`Next, in ${result.directory}:\n${imports.join('\n')}`);
  return parts.join('\n\n');
}

function leftOutText({ leftOut }: ExportResult, style: Style): string {
  const lines = leftOut.map(({ table: name, columns, rows, names = [], reason }) => {
    if (columns) return `  ${name} (${columns.join(', ')}): ${reason}`;
    const shown = names.slice(0, NAMES_SHOWN).join(', ');
    const more = rows > NAMES_SHOWN ? `, and ${count(rows - NAMES_SHOWN)} more` : '';
    return `  ${counted(rows, 'row')} of ${name}: ${reason}: ${shown}${more}`;
  });
  return `${style.yellow('Left out')}\n${lines.join('\n')}`;
}
