/** Disk usage of directory trees. */
import { AT_FDCWD, close, ENOENT, ENOTDIR, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openat } from '../linux/file.js';
import { lstatat, type Stat } from '../linux/stat.js';
import { type Visit, walkTree } from './walk.js';

export interface TreeUsage {
  /** Files of all kinds, directories and the root included; one with several names counts once. */
  readonly inodes: number;
  /** Bytes allocated on disk. */
  readonly size: number;
}

/** Adds up; a file with several names is counted when the first of them comes. */
class Sum {
  readonly #several = new Set<string>();
  #inodes = 0;
  #size = 0;

  add(stat: Stat, isDirectory: boolean): void {
    if (!isDirectory && stat.nlink > 1) {
      const identity = `${stat.filesystem}:${stat.inode}`;
      if (this.#several.has(identity)) return;
      this.#several.add(identity);
    }
    this.#inodes += 1;
    this.#size += stat.allocated;
  }

  get usage(): TreeUsage {
    return { inodes: this.#inodes, size: this.#size };
  }
}

/**
 * Measures the tree at `root` as du(1) does; yields after each entry. What appears or
 * goes away meanwhile may or may not be counted; what is mounted inside is not.
 */
export function* measuring(root: string): Generator<void, TreeUsage, void> {
  const sum = new Sum();
  const own = lstatat(AT_FDCWD, root);
  if (own) sum.add(own, true);
  for (const { step, parent, name } of walkTree(root)) {
    const stat = step === 'entry' || step === 'enter' ? lstatat(parent, name, [ENOENT]) : undefined;
    if (stat) sum.add(stat, step === 'enter');
    yield;
  }
  return sum.usage;
}

const moment = ({ seconds, nanos }: Stat['ctime']): string => `${seconds}.${nanos}`;

/** A snapshot keeps inode numbers and change times, and no change leaves both as they were. */
const isSame = (one: Stat, other: Stat): boolean =>
  one.inode === other.inode && moment(one.ctime) === moment(other.ctime);

/** The directories of the base that stand beside those being walked; -1 where the base has none. */
class Beside {
  readonly #levels: number[] = [];

  constructor(root: string) {
    this.#levels.push(openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY));
  }

  /** Attributes of the file of that name in the base. */
  find(name: Buffer): Stat | undefined {
    const directory = this.#levels.at(-1) ?? -1;
    return directory < 0 ? undefined : lstatat(directory, name, [ENOENT]);
  }

  follow({ step, name }: Visit): void {
    if (step === 'leave') this.#pop();
    if (step !== 'enter') return;
    const directory = this.#levels.at(-1) ?? -1;
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    this.#levels.push(directory < 0 ? -1 : openat(directory, name, flags, 0, [ENOENT, ENOTDIR]));
  }

  closeAll(): void {
    while (this.#levels.length > 0) this.#pop();
  }

  #pop(): void {
    const directory = this.#levels.pop() ?? -1;
    if (directory >= 0) close(directory);
  }
}

/** As {@link measuring}, of what is not the same in `base`, of which the tree was once a snapshot. */
export function* measuringChanges(root: string, base: string): Generator<void, TreeUsage, void> {
  const sum = new Sum();
  const beside = new Beside(base);
  try {
    for (const visit of walkTree(root)) {
      const { step, parent, name } = visit;
      const stat = step === 'entry' || step === 'enter' ? lstatat(parent, name, [ENOENT]) : undefined;
      const before = stat && beside.find(name);
      if (stat && !(before && isSame(stat, before))) sum.add(stat, step === 'enter');
      beside.follow(visit);
      yield;
    }
    return sum.usage;
  } finally {
    beside.closeAll();
  }
}
