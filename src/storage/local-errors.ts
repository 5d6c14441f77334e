import { LifeboatError, toError } from '../errors.ts';

interface Remedy {
  readonly says: string;
  readonly next: string;
}

/** errno → what it means for somebody who keeps backups in a directory. */
const REMEDIES: Readonly<Record<string, Remedy>> = {
  ENOSPC: {
    says: 'the disk is full',
    next: 'Free space there (lifeboat prune removes old backups), or choose another --storage.',
  },
  EDQUOT: {
    says: 'the disk quota is used up',
    next: 'Raise the quota, free space, or choose another --storage.',
  },
  EFBIG: {
    says: 'the file is larger than the filesystem or the limit of this process allows',
    next: 'Raise the file size limit (ulimit -f), or choose another --storage.',
  },
  EACCES: {
    says: 'permission is denied',
    next: 'Run as the user that owns the directory, or give this user read and write access to it.',
  },
  EPERM: {
    says: 'the operation is not permitted',
    next: 'Use a directory that this user owns, on a filesystem with hard links (create-only writes need them).',
  },
  EROFS: { says: 'the filesystem is read-only', next: 'Mount it writable, or choose another --storage.' },
  ENOTDIR: {
    says: 'a part of the path is a file, not a directory',
    next: 'Choose another --storage, or move that file away.',
  },
  EISDIR: {
    says: 'there is a directory in its place',
    next: 'Move that directory away: the storage keeps a file of this name.',
  },
  ENAMETOOLONG: {
    says: 'the file name is too long for the filesystem',
    next: 'Choose a --storage with a shorter path.',
  },
  ELOOP: {
    says: 'it is a symbolic link, which is not followed inside a storage',
    next: 'Replace the link by the directory or file that it points to.',
  },
  EMFILE: {
    says: 'this process has too many open files',
    next: 'Raise the limit of open files (ulimit -n).',
  },
  EIO: {
    says: 'the device reported an input/output error',
    next: 'Check the disk and the system log; until then, choose another --storage.',
  },
  ESTALE: { says: 'the network filesystem has lost the file', next: 'Check the mount, then try again.' },
  ENOTSUP: {
    says: 'the filesystem does not support it',
    next: 'Use a filesystem with hard links (create-only writes need them).',
  },
};

/** mkdir() says EEXIST where open() says ENOTDIR. */
const ALIASES: Readonly<Record<string, string>> = { EOPNOTSUPP: 'ENOTSUP', EEXIST: 'ENOTDIR' };

export function errno(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined;
}

/** A filesystem error as one sentence and its next step; anything else (a body's own error, an abort) unchanged. */
export function localError(doing: string, where: string, thrown: unknown): Error {
  const code = errno(thrown);
  if (thrown instanceof LifeboatError || code === undefined || !isSystemError(thrown)) return toError(thrown);
  const remedy = REMEDIES[ALIASES[code] ?? code];
  return new LifeboatError(
    'failed',
    `Cannot ${doing} in ${where}: ${remedy?.says ?? toError(thrown).message}.`,
    {
      next: remedy?.next ?? 'Check the directory and its filesystem, then try again.',
      details: { code },
      cause: thrown,
    },
  );
}

/** Errors of node:fs have a syscall; the error of a body that was being stored may have a code, but is not ours. */
function isSystemError(thrown: unknown): boolean {
  return thrown instanceof Error && 'syscall' in thrown && 'errno' in thrown;
}
