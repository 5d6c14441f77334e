/** Ids under which a server process runs; both from one line of the passwd file. */
export interface ServiceUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Users without privileges that common systems ship, most usual first. Deliberately not `postgres`: it exists only
 * where a server was installed, and then it owns that server's data.
 */
const USUAL_NAMES: readonly string[] = ['nobody', 'daemon', 'bin', 'www-data', 'mail', 'games'];

/**
 * Who may run a server for root, best first: the usual unprivileged users, then every other user that is not root.
 * The ids come from the passwd file because initdb looks its own uid up there and gives up when it is missing.
 */
export function unprivilegedUsers(passwd: string): readonly ServiceUser[] {
  const users = passwd.split('\n').flatMap((line): ServiceUser[] => {
    const [name, , uid, gid] = line.split(':');
    // macOS writes nobody's ids as -2, which spawn takes as they are.
    if (!name || name.startsWith('#') || !isId(uid) || !isId(gid) || Number(uid) === 0) return [];
    return [{ name, uid: Number(uid), gid: Number(gid) }];
  });
  const rank = (user: ServiceUser): number => {
    const index = USUAL_NAMES.indexOf(user.name);
    return index === -1 ? USUAL_NAMES.length : index;
  };
  return users.toSorted((a, b) => rank(a) - rank(b));
}

function isId(field: string | undefined): field is string {
  return field !== undefined && /^-?\d+$/.test(field);
}
