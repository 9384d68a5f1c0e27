/** Compares two trees entry by entry; works for any two directories. */
import { failedPrecondition } from '../../../kernel/errors.js';
import { close, ENOENT, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openat } from '../../../lib/linux/file.js';
import { lstatat, readDirectory, S_IFDIR, S_IFMT, type Stat } from '../../../lib/linux/stat.js';
import { cString, join, show } from '../unpack/names.js';
import { type Changes, MOST_LEVELS } from './changes.js';
import { sameEntry } from './same.js';

const namesIn = (fd: number | undefined): string[] =>
  fd === undefined ? [] : readDirectory(fd).map(({ name }) => name);

export const isDirectory = (stat: Stat | undefined): boolean => stat !== undefined && (stat.mode & S_IFMT) === S_IFDIR;

export const openDirectory = (parent: number, name: string): number =>
  openat(parent, cString(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

/** Names are compared as bytes, so that the order does not depend on the host. */
const inOrder = (names: Iterable<string>): string[] => [...names].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

export function checkDepth(path: string, level: number): void {
  if (level > MOST_LEVELS) throw failedPrecondition(`directory ${show(path)} is more than ${MOST_LEVELS} levels deep`);
}

/** `lower` and `upper`: descriptors of open directories, read from where they stand; no `lower`: an empty tree. */
export function* treeChanges(lower: number | undefined, upper: number, at = '', level = 0): Changes {
  checkDepth(at, level);
  const below = new Set(namesIn(lower));
  const above = namesIn(upper);
  for (const name of inOrder(new Set([...below, ...above]))) {
    yield;
    const path = join(at, name);
    const before = below.has(name) && lower !== undefined ? lstatat(lower, cString(name), [ENOENT]) : undefined;
    const after = lstatat(upper, cString(name), [ENOENT]);
    if (!after) {
      if (before) yield { kind: 'deletion', path };
      continue;
    }
    const old = before && lower !== undefined ? { parent: lower, name, stat: before } : undefined;
    const entry = { parent: upper, name, stat: after };
    const isChanged = !old || !(yield* sameEntry(old, entry));
    yield { kind: 'visit', path, ...entry, isChanged };
    if (isDirectory(after)) yield* descend(isDirectory(before) ? lower : undefined, upper, name, path, level + 1);
  }
}

function* descend(lower: number | undefined, upper: number, name: string, path: string, level: number): Changes {
  const above = openDirectory(upper, name);
  try {
    const below = lower === undefined ? undefined : openDirectory(lower, name);
    try {
      yield* treeChanges(below, above, path, level);
    } finally {
      if (below !== undefined) close(below);
    }
  } finally {
    close(above);
  }
}
