// The commands that are compared. The first of a kind is what the others are measured against.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { allTables, countRows, databaseUrl, newTarget } from './database.mjs';
import { KEEP, startLiveClients } from './live-clients.mjs';

const MAIN = fileURLToPath(new URL('../dist/bin/lifeboat.js', import.meta.url));

/** Bytes of all files below a folder. */
function folderSize(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

/** psql reads its work from a file: one \copy for each table, through gzip -1 as the others compress. */
function copyScript(path, folder, tables, direction) {
  const lines = tables.map((table) => {
    const file = join(folder, `${table}.csv.gz`);
    return direction === 'out'
      ? `\\copy public."${table}" to program 'gzip -1 > ${file}' csv`
      : `\\copy public."${table}" from program 'gzip -dc ${file}' csv`;
  });
  const head = direction === 'out' ? [] : ['BEGIN;', `SET session_replication_role = replica;`];
  const tail = direction === 'out' ? [] : ['COMMIT;'];
  writeFileSync(path, [...head, ...lines, ...tail, ''].join('\n'));
}

/**
 * Each contender: { name, command: [file, args], env?, prepare, during?, check?, bytes? }. Only the command is measured.
 * `nodeWithZstd` and `s3` (a storage address) may be undefined: what needs them is left out.
 */
export async function contenders(server, folder, { jobs, nodeWithZstd, s3 }) {
  const source = databaseUrl(server, 'source');
  const target = databaseUrl(server, 'target');
  const expected = await countRows(server, 'source');
  const tables = await allTables(server, 'source');
  const path = (name) => join(folder, name);
  const empty = (name) => () => rmSync(path(name), { recursive: true, force: true });
  const lifeboat = (args, storage, node = process.execPath) => [
    node,
    [MAIN, ...args, '--storage', storage, '--json'],
  ];
  const backup = (codec, storage, node) =>
    lifeboat(['backup', '--airflow', source, '--jobs', jobs, '--compression', codec], storage, node);
  const restore = (storage, more = [], node = process.execPath) =>
    lifeboat(['restore', 'latest', '--airflow', target, '--clean', '--yes', ...more], storage, node);
  const equal = async (found) => assert.deepEqual(await found, expected);
  const check = () => equal(countRows(server, 'target'));
  const alive = {
    prepare: () => newTarget(server, 'fresh'),
    during: () => startLiveClients(target),
    check: () => equal(countRows(server, 'target')),
  };
  const fresh = { prepare: () => newTarget(server, 'fresh'), check };
  const [copyOut, copyIn] = [path('copy-out.sql'), path('copy-in.sql')];

  return {
    backup: [
      {
        name: `pg_dump -Fd -j${jobs} -Z1`,
        command: ['pg_dump', ['-Fd', `-j${jobs}`, '-Z1', '-f', path('dump'), source]],
        prepare: empty('dump'),
        bytes: () => folderSize(path('dump')),
      },
      {
        name: 'backup, gzip:1, directory',
        command: backup('gzip:1', path('gzip')),
        prepare: empty('gzip'),
        bytes: () => folderSize(path('gzip')),
      },
      ...(nodeWithZstd
        ? [
            {
              name: 'backup, zstd:1, directory',
              command: backup('zstd:1', path('zstd'), nodeWithZstd),
              prepare: empty('zstd'),
              bytes: () => folderSize(path('zstd')),
            },
          ]
        : []),
      ...(s3
        ? [{ name: 'backup, gzip:1, S3', command: backup('gzip:1', s3), prepare: () => undefined }]
        : []),
      {
        name: 'psql \\copy | gzip -1, one table after another',
        command: ['psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', source, '-f', copyOut]],
        prepare: () => {
          rmSync(path('copy'), { recursive: true, force: true });
          assert(spawnSync('mkdir', ['-p', path('copy')]).status === 0);
          copyScript(copyOut, path('copy'), tables, 'out');
        },
        bytes: () => folderSize(path('copy')),
      },
    ],
    restore: [
      {
        name: `pg_restore -j${jobs}, empty database, nobody there`,
        command: ['pg_restore', [`-j${jobs}`, '-d', target, path('dump')]],
        prepare: () => newTarget(server, 'template0'),
        check,
      },
      { name: 'restore via shadow, migrated database', command: restore(path('gzip')), ...fresh },
      {
        name: 'restore via shadow, Airflow at work',
        command: restore(path('gzip'), ['--keep-run', KEEP]),
        ...alive,
      },
      ...(nodeWithZstd
        ? [{ name: 'restore via shadow, zstd', command: restore(path('zstd'), [], nodeWithZstd), ...fresh }]
        : []),
      ...(s3 ? [{ name: 'restore via shadow, S3', command: restore(s3), ...fresh }] : []),
      { name: 'restore in place', command: restore(path('gzip'), ['--via', 'in-place']), ...fresh },
      {
        name: 'psql \\copy into emptied tables',
        command: ['psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', target, '-f', copyIn]],
        prepare: async () => {
          await newTarget(server, 'fresh', tables);
          assert(existsSync(path('copy')));
          copyScript(copyIn, path('copy'), tables, 'in');
        },
        check,
      },
    ],
  };
}
