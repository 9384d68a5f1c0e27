/** Moves what a directory holds into another that is empty. */
import {
  AT_FDCWD,
  close,
  EXDEV,
  futimens,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  renameat,
} from '../../lib/linux/file.js';
import { fstat, readDirectoryInParts } from '../../lib/linux/stat.js';

/** Names that are moved, some microseconds of the event loop each. */
const MOST = 2048;

const openDirectory = (path: string): number => openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

/**
 * The directories themselves stay, with their attributes. False, with nothing changed, when they are of two
 * filesystems, `to` is not empty, or `from` holds too many names.
 */
export function moveContents(from: string, to: string): boolean {
  const source = openDirectory(from);
  try {
    const target = openDirectory(to);
    try {
      return move(source, target);
    } finally {
      close(target);
    }
  } finally {
    close(source);
  }
}

function move(source: number, target: number): boolean {
  const { atime, mtime } = fstat(target);
  const names = namesIn(source, MOST);
  if (names === undefined || namesIn(target, 0) === undefined) return false;
  // Of two filesystems, or of two quota projects, are all of them or none.
  for (const name of names) if (renameat(source, name, target, name, [EXDEV]) < 0) return false;
  futimens(target, atime, mtime);
  return true;
}

/** As C strings; undefined when there are more than `most`. */
function namesIn(directory: number, most: number): readonly Uint8Array[] | undefined {
  const names: Uint8Array[] = [];
  for (const entries of readDirectoryInParts(directory)) {
    names.push(...entries.map(({ name }) => Buffer.from(`${name}\0`, 'latin1')));
    if (names.length > most) return undefined;
  }
  return names;
}
