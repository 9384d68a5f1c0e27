/**
 * What an overlay's upper directory says has changed, without looking at what
 * has not: deletions and opaque directories are marked in it.
 */
import { close, ENOENT } from '../../../lib/linux/file.js';
import { lstatat, readDirectory, S_IFMT, S_IFREG } from '../../../lib/linux/stat.js';
import { getxattrAt } from '../../../lib/linux/xattr.js';
import { isWhiteout, type Lowers } from '../unpack/lowers.js';
import { cString, join, secondCString } from '../unpack/names.js';
import type { Changes } from './changes.js';
import { checkDepth, isDirectory, openDirectory } from './trees.js';

export interface OverlayUpper {
  /** The upper directory. */
  readonly root: string;
  readonly lowers: Lowers;
  /** `trusted.overlay.` or `user.overlay.`. */
  readonly prefix: string;
}

const namesInOrder = (fd: number): string[] =>
  readDirectory(fd)
    .map(({ name }) => name)
    .sort((a, b) => (a < b ? -1 : 1));

/** `fd`: descriptor of the upper directory, just opened. */
export function* upperChanges(fd: number, overlay: Omit<OverlayUpper, 'root'>, at = '', level = 0): Changes {
  const { lowers, prefix } = overlay;
  checkDepth(at, level);
  for (const name of namesInOrder(fd)) {
    yield;
    const path = join(at, name);
    const stat = lstatat(fd, cString(name), [ENOENT]);
    if (!stat) continue;
    if (isWhiteout(stat)) {
      if (lowers.find(path)) yield { kind: 'deletion', path };
      continue;
    }
    yield { kind: 'visit', path, parent: fd, name, stat, isChanged: true };
    if (!isDirectory(stat)) continue;
    const mark = getxattrAt(fd, cString(name), secondCString(`${prefix}opaque`));
    if (mark?.toString('latin1') === 'y' && lowers.findDirectory(path)) yield { kind: 'opaque', path };
    const child = openDirectory(fd, name);
    try {
      yield* upperChanges(child, overlay, path, level + 1);
    } finally {
      close(child);
    }
  }
}

/** Attributes with which an upper directory says something that cannot be read from it alone. */
const ELSEWHERE = ['redirect', 'metacopy', 'whiteout'];

/** True when the upper directory, just opened, holds all data itself, under the names that are seen. */
export function* isSelfContained(fd: number, prefix: string, level = 0): Generator<undefined, boolean, void> {
  checkDepth('', level);
  for (const { name } of readDirectory(fd)) {
    yield;
    const stat = lstatat(fd, cString(name), [ENOENT]);
    if (!stat || (!isDirectory(stat) && (stat.mode & S_IFMT) !== S_IFREG)) continue;
    const has = (key: string): boolean => getxattrAt(fd, cString(name), secondCString(`${prefix}${key}`)) !== undefined;
    const mark = getxattrAt(fd, cString(name), secondCString(`${prefix}opaque`))?.toString('latin1');
    if (ELSEWHERE.some(has) || mark === 'x') return false;
    if (!isDirectory(stat)) continue;
    const child = openDirectory(fd, name);
    try {
      if (!(yield* isSelfContained(child, prefix, level + 1))) return false;
    } finally {
      close(child);
    }
  }
  return true;
}
