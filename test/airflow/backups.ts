import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The moment that the one backup below FOLDER/storage shows, as Python prints it: six digits and an offset. */
export async function snapshotTime(folder: string): Promise<string> {
  const backups = join(folder, 'storage', 'backups');
  const [backupId] = await readdir(backups);
  const text = await readFile(join(backups, String(backupId), 'manifest.json'), 'utf8');
  const time: unknown = (JSON.parse(text) as Record<string, unknown>).snapshotTime;
  const [seconds, fraction = ''] = String(time)
    .replace(/Z$|\+00:00$/, '')
    .split('.');
  return `${seconds}.${fraction.padEnd(6, '0')}+00:00`;
}
