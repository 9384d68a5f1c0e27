/**
 * Walking directory trees by descriptor. Trees may be hostile and may change
 * while they are walked: no symbolic link is followed and no mount point is
 * crossed, whatever the names say.
 */
import {
  AT_FDCWD,
  close,
  ELOOP,
  ENOENT,
  ENOTDIR,
  EXDEV,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_NO_XDEV,
} from '../linux/file.js';
import {
  type DirectoryEntry,
  DT_DIR,
  DT_UNKNOWN,
  lstatat,
  readDirectoryInParts,
  S_IFDIR,
  S_IFMT,
} from '../linux/stat.js';

export interface Visit {
  /**
   * `enter` before and `leave` after what a directory holds, `entry` for anything else, and
   * `mount` for a directory on which something is mounted, which is not entered.
   */
  readonly step: 'enter' | 'leave' | 'entry' | 'mount';
  /** Descriptor of the directory that holds it; valid until the next step. */
  readonly parent: number;
  /** Name in `parent`, as bytes ending in NUL. */
  readonly name: Buffer;
  /** Directories between the root and it. */
  readonly depth: number;
  /** Descriptor of the directory itself on `enter`; -1 otherwise. */
  readonly directory: number;
}

interface Level {
  readonly directory: number;
  readonly name: Buffer;
  readonly entries: Generator<DirectoryEntry>;
}

/** A name as the `latin1` text of its bytes, into a C string. */
const cString = (name: string): Buffer => Buffer.from(`${name}\0`, 'latin1');

function isDirectory(parent: number, name: Buffer, type: number): boolean {
  if (type !== DT_UNKNOWN) return type === DT_DIR;
  const stat = lstatat(parent, name, [ENOENT]);
  return stat !== undefined && (stat.mode & S_IFMT) === S_IFDIR;
}

/** A descriptor; or why there is none: it went away or is no directory any more, or it is a mount point. */
function enter(parent: number, name: Buffer): number | 'gone' | 'mount' {
  const fd = openat2(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_XDEV, [
    ENOENT,
    ENOTDIR,
    ELOOP,
    EXDEV,
  ]);
  if (fd >= 0) return fd;
  return fd === -EXDEV ? 'mount' : 'gone';
}

function* listing(directory: number): Generator<DirectoryEntry> {
  for (const part of readDirectoryInParts(directory)) yield* part;
}

/**
 * Everything below `root`, the root itself left out, depth first. One step at
 * a time, so that the caller decides how long to go on; ending the generator
 * early closes what is open. Throws SystemError when `root` cannot be opened.
 */
export function* walkTree(root: string): Generator<Visit, void, void> {
  const levels: Level[] = [];
  const push = (directory: number, name: Buffer): void => {
    levels.push({ directory, name, entries: listing(directory) });
  };
  push(openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY), Buffer.alloc(1));
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const { directory: parent, name: own, entries } = level;
      const next = entries.next();
      const depth = levels.length - 1;
      if (next.done) {
        levels.pop();
        close(parent);
        const above = levels.at(-1);
        if (above) yield { step: 'leave', parent: above.directory, name: own, depth: depth - 1, directory: -1 };
        continue;
      }
      const name = cString(next.value.name);
      if (!isDirectory(parent, name, next.value.type)) {
        yield { step: 'entry', parent, name, depth, directory: -1 };
        continue;
      }
      const directory = enter(parent, name);
      if (directory === 'gone') continue;
      if (directory === 'mount') {
        yield { step: 'mount', parent, name, depth, directory: -1 };
        continue;
      }
      push(directory, name);
      yield { step: 'enter', parent, name, depth, directory };
    }
  } finally {
    for (const { directory } of levels) close(directory);
  }
}
