/** Copying a file of a lower layer into the tree that is written, so that it can be linked to. */
import { invalidArgument } from '../../../kernel/errors.js';
import {
  close,
  fchmod,
  fchown,
  futimens,
  makedev,
  mknodat,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openat,
  readlinkat,
  symlinkat,
} from '../../../lib/linux/file.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../../lib/linux/stat.js';
import { copyContent } from '../../../lib/tree/content.js';
import {
  isLinkMode,
  lowerXattrs,
  setNodeAttributes,
  setXattrs,
  setXattrsAt,
  type XattrPolicy,
  type Xattrs,
} from './attributes.js';
import type { Directory } from './directories.js';
import type { LowerEntry } from './lowers.js';
import { cString, secondCString, show } from './names.js';

const PERMISSIONS = 0o7777;

function copyRegular(
  { parent, name, stat }: LowerEntry,
  directory: Directory,
  xattrs: Xattrs,
  policy: XattrPolicy,
): void {
  const source = openat(parent, cString(name), O_RDONLY | O_NOFOLLOW);
  try {
    const target = openat(directory.fd, cString(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      for (const _ of copyContent(source, target, stat.size));
      fchown(target, stat.uid, stat.gid);
      setXattrs(target, name, xattrs, policy);
      fchmod(target, stat.mode & PERMISSIONS);
      futimens(target, stat.atime, stat.mtime);
    } finally {
      close(target);
    }
  } finally {
    close(source);
  }
}

function copySpecial(
  { parent, name, stat }: LowerEntry,
  directory: Directory,
  xattrs: Xattrs,
  policy: XattrPolicy,
): void {
  const isLink = isLinkMode(stat.mode);
  if (isLink) {
    const text = readlinkat(parent, cString(name))?.toString('latin1') ?? '';
    symlinkat(secondCString(text), directory.fd, cString(name));
  } else mknodat(directory.fd, cString(name), stat.mode, makedev(stat.deviceMajor, stat.deviceMinor));
  setNodeAttributes(directory.fd, name, stat, isLink);
  setXattrsAt(directory.fd, name, xattrs, policy);
}

/** Makes `directory` hold what the lower layer has, of the same name. INVALID_ARGUMENT for a directory. */
export function copyUp(entry: LowerEntry, directory: Directory, policy: XattrPolicy): void {
  const type = entry.stat.mode & S_IFMT;
  if (type === S_IFDIR) throw invalidArgument(`${show(entry.name)}, which it links to, is a directory`);
  const xattrs = lowerXattrs(entry.parent, entry.name, policy);
  if (type === S_IFREG) copyRegular(entry, directory, xattrs, policy);
  else copySpecial(entry, directory, xattrs, policy);
}
