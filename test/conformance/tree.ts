/** Directory trees described so that two can be compared: everything but inode numbers and times. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { AT_FDCWD, close, O_DIRECTORY, O_RDONLY, openat } from '../../lib/linux/file.js';
import { getxattrAt, listxattrAt } from '../../lib/linux/xattr.js';

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'directory';
  if (stats.isFile()) return 'file';
  if (stats.isSymbolicLink()) return 'link';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isBlockDevice() ? 'block device' : 'character device';
}

/** What the kernel keeps for itself in overlays' upper directories, and what security modules add, is no content. */
const OWN = /^(?:trusted\.overlay\.|user\.overlay\.|security\.selinux$)/;

function attributesOf(directory: Buffer, name: string): string[] {
  const fd = openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY);
  try {
    const entry = Buffer.from(`${name}\0`, 'latin1');
    const names = listxattrAt(fd, entry).filter((attribute) => !OWN.test(attribute));
    return names
      .sort()
      .map((attribute) => `${attribute}=${getxattrAt(fd, entry, Buffer.from(`${attribute}\0`))?.toString('hex')}`);
  } finally {
    close(fd);
  }
}

/** Names are handled as `latin1` text of their bytes, since not all are UTF-8. */
const bytes = (path: string): Buffer => Buffer.from(path, 'latin1');

function contentOf(path: Buffer, stats: Stats): string {
  if (stats.isFile()) return `${stats.size} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`;
  if (stats.isSymbolicLink()) return readlinkSync(path, 'latin1');
  return stats.isBlockDevice() || stats.isCharacterDevice() ? String(stats.rdev) : '';
}

/**
 * One line for each file below `root` and for the root itself, in order of path: kind, mode,
 * owner, content or target or device, the first of its names, extended attributes.
 */
export function describeTree(root: string): string[] {
  const lines: string[] = [];
  const first = new Map<number, string>();
  const visit = (directory: string, name: string, shown: string): void => {
    const path = `${directory}/${name}`;
    const stats = lstatSync(bytes(path));
    const original = stats.isDirectory() || stats.nlink === 1 ? shown : (first.get(stats.ino) ?? shown);
    first.set(stats.ino, original);
    const mode = (stats.mode & 0o7777).toString(8);
    const facts = [kindOf(stats), mode, `${stats.uid}:${stats.gid}`, contentOf(bytes(path), stats), original];
    lines.push([shown, ...facts, ...attributesOf(bytes(`${directory}\0`), name)].join(' | '));
    if (!stats.isDirectory()) return;
    for (const child of readdirSync(bytes(path), 'latin1').sort()) visit(path, child, `${shown}/${child}`);
  };
  visit(Buffer.from(root).toString('latin1'), '.', '.');
  return lines;
}
