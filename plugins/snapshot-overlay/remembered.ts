/**
 * What a probe found, for the starts until the next boot: before that neither the kernel nor the filesystem becomes
 * another one, and to mount and unmount takes longer than all else of this plugin's start.
 */
import { readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from '../../lib/boot.js';
import { isErrno } from '../../lib/errno.js';

export class RememberedProbe {
  readonly #file: string;
  readonly #place: string;

  /** Of the filesystem of `root`, in a file in `directory`. */
  constructor(directory: string, root: string) {
    this.#file = join(directory, 'probe');
    const { dev, ino } = statSync(root, { bigint: true });
    this.#place = [bootId(), readlinkSync('/proc/self/ns/user'), dev, ino].join(' ');
  }

  /** The mount options with which overlays work, where that is known. */
  get options(): readonly string[] | undefined {
    const [place, ...options] = this.#read().split('\n');
    return place === this.#place ? options : undefined;
  }

  keep(options: readonly string[]): void {
    writeFileSync(this.#file, [this.#place, ...options].join('\n'), { mode: 0o600 });
  }

  #read(): string {
    try {
      return readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return '';
      throw error;
    }
  }
}
