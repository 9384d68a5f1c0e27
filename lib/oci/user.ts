/**
 * The `User` of an image or a command line, turned into numbers with the
 * container's own passwd(5) and group(5). All three are hostile input.
 */
import { invalidArgument } from '../../kernel/errors.js';
import type { User } from './runtime-spec.js';

/** Highest id a container may run as: ids are signed 32-bit in runc, and 2^31 and above wrapped to root (CVE-2024-40635). */
const MAX_ID = 2 ** 31 - 1;

export interface AccountFiles {
  /** Text of /etc/passwd; empty when the image has none. */
  readonly passwd: string;
  /** Text of /etc/group; empty when the image has none. */
  readonly group: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const parseId = (text: string): number | undefined => {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
};

function passwdEntries(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uidText = '', gidText = ''] = line.split(':');
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    return name && uid !== undefined && gid !== undefined ? [{ name, uid, gid }] : [];
  });
}

function groupEntries(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gidText = '', members = ''] = line.split(':');
    const gid = parseId(gidText);
    return name && gid !== undefined ? [{ name, gid, members: members.split(',').filter(Boolean) }] : [];
  });
}

/** A number stays a number: it is never looked up as a name, not even when a line of that name exists. */
const isNumeric = (text: string): boolean => /^-?\d+$/.test(text);

function numericId(text: string, what: string): number {
  const id = parseId(text);
  if (id === undefined) throw invalidArgument(`${what} "${text}" is out of range`, { remedy: `use 0 to ${MAX_ID}` });
  return id;
}

/** True when resolving this user needs the container's account files. */
export const needsAccountFiles = (user: string): boolean => user !== '' && user !== '0' && user !== '0:0';

/**
 * Resolves `name`, `uid`, `name:group`, `uid:gid` and mixtures of them
 * (image-spec, config.md, `User`). INVALID_ARGUMENT for a number out of range
 * and for a name that the container does not have.
 */
export function resolveUser(user: string, files: AccountFiles): User {
  if (user === '') return { uid: 0, gid: 0 };
  const [account = '', group, ...rest] = user.split(':');
  if (rest.length > 0 || account === '' || group === '') {
    throw invalidArgument(`malformed user "${user}"`, { remedy: 'write it as USER or USER:GROUP' });
  }
  const numericUid = isNumeric(account) ? numericId(account, 'uid') : undefined;
  const entry = passwdEntries(files.passwd).find(({ name, uid }) =>
    numericUid === undefined ? name === account : uid === numericUid,
  );
  const uid = numericUid ?? entry?.uid;
  if (uid === undefined) throw invalidArgument(`no user "${account}" in the container's /etc/passwd`);
  const groups = groupEntries(files.group);
  const gid = group === undefined ? (entry?.gid ?? 0) : resolveGroup(group, groups);
  if (group !== undefined || !entry) return { uid, gid, additionalGids: [gid] };
  const supplementary = groups.filter(({ members }) => members.includes(entry.name)).map((found) => found.gid);
  return { uid, gid, additionalGids: [...new Set([gid, ...supplementary])] };
}

function resolveGroup(group: string, groups: readonly GroupEntry[]): number {
  if (isNumeric(group)) return numericId(group, 'gid');
  const found = groups.find(({ name }) => name === group);
  if (!found) throw invalidArgument(`no group "${group}" in the container's /etc/group`);
  return found.gid;
}
