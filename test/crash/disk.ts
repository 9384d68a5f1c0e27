/** A disk whose writes and flushes are logged, and what a power cut at any moment would have left on it. */

import { once } from 'node:events';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { mountAll } from '../../lib/linux/mount.js';
import { run, succeed } from '../harness/command.js';
import { eventually } from '../harness/eventually.js';

const MEGABYTE = 1 << 20;
/** The least that mkfs.xfs(8) makes a filesystem of is 300. */
const SIZE = 320 * MEGABYTE;
const FLUSHED = 0xffff_ffff_ffff_ffffn;
/** Bytes that a disk writes whole or not at all. */
const SECTOR = 4096;
const HEAD = 12;

/** How to make each filesystem that power is cut under. */
const MAKERS = {
  ext4: ['mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', '-J', 'size=8'],
  xfs: ['mkfs.xfs', '-q'],
} as const;

export type Filesystem = keyof typeof MAKERS;

export class LoggedDisk implements AsyncDisposable {
  /** The mounted filesystem. */
  readonly path: string;
  readonly #log: string;
  readonly #base: string;
  readonly #undo: AsyncDisposableStack;

  private constructor(place: string, undo: AsyncDisposableStack) {
    this.#log = join(place, 'log');
    this.#base = join(place, 'base');
    this.path = join(place, 'mnt');
    this.#undo = undo;
  }

  /** Makes and mounts a filesystem on such a disk below `place`, an empty directory in memory. */
  static async mount(place: string, filesystem: Filesystem): Promise<LoggedDisk> {
    const [image, log, served] = [join(place, 'image'), join(place, 'log'), join(place, 'served')];
    writeFileSync(image, '');
    truncateSync(image, SIZE);
    writeFileSync(log, '');
    for (const name of ['served', 'mnt']) mkdirSync(join(place, name));
    const [make, ...flags] = MAKERS[filesystem];
    await succeed(make, [...flags, image]);
    await succeed('cp', ['--sparse=always', image, join(place, 'base')]);
    await using undo = new AsyncDisposableStack();
    const device = openSync('/dev/fuse', constants.O_RDWR);
    const options = [`fd=${device}`, 'rootmode=40000', 'user_id=0', 'group_id=0'];
    mountAll([{ type: 'fuse', source: 'disk', target: '', options }], served);
    const server = new Worker(new URL('disk-server.js', import.meta.url), {
      workerData: { device, image, log, size: SIZE },
    });
    const exited = once(server, 'exit');
    server.once('exit', () => closeSync(device));
    undo.defer(async () => {
      // The loop device lets go of its file when the last one who looks at it does, a search for a free one say.
      const unmounted = async (): Promise<true | undefined> =>
        (await run('umount', [served])).code === 0 ? true : undefined;
      await eventually('the disk is let go of', unmounted).finally(async () => {
        await run('umount', ['--lazy', '--force', served]);
        await exited;
      });
    });
    const loop = (await succeed('losetup', ['--find', '--show', join(served, 'disk')])).trim();
    undo.defer(async () => {
      await succeed('losetup', ['--detach', loop]);
    });
    await succeed('mount', ['-t', filesystem, loop, join(place, 'mnt')]);
    undo.defer(async () => {
      await succeed('umount', [join(place, 'mnt')]);
    });
    return new LoggedDisk(place, undo.move());
  }

  /** Where the log stands: what is acknowledged now was flushed before. */
  now(): number {
    return statSync(this.#log).size;
  }

  /** Unmounts it; the log stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync();
  }

  /**
   * Writes to `file` what the disk holds when power fails at that place of the log: everything before the last
   * flush, and of what came after it any part, as `random` says.
   */
  async cut(file: string, at: number, random: () => number): Promise<void> {
    await succeed('cp', ['--sparse=always', this.#base, file]);
    const log = readFileSync(this.#log).subarray(0, at);
    const durable = lastFlush(log);
    const disk = openSync(file, 'r+');
    try {
      for (const { position, offset, data } of writes(log)) {
        for (let start = 0; start < data.length; start += SECTOR) {
          const survives = position < durable || random() < 0.5;
          if (survives) writeSync(disk, data.subarray(start, start + SECTOR), 0, undefined, offset + start);
        }
      }
    } finally {
      closeSync(disk);
    }
  }
}

interface LoggedWrite {
  /** In the log. */
  readonly position: number;
  readonly offset: number;
  readonly data: Buffer;
}

function* records(log: Buffer): Generator<{ position: number; offset: bigint; data: Buffer }> {
  for (let position = 0; position + HEAD <= log.length; ) {
    const length = log.readUInt32LE(position + 8);
    const end = position + HEAD + length;
    if (end > log.length) return;
    yield { position, offset: log.readBigUInt64LE(position), data: log.subarray(position + HEAD, end) };
    position = end;
  }
}

function* writes(log: Buffer): Generator<LoggedWrite> {
  for (const { position, offset, data } of records(log)) {
    if (offset !== FLUSHED) yield { position, offset: Number(offset), data };
  }
}

function lastFlush(log: Buffer): number {
  let last = 0;
  for (const { position, offset } of records(log)) if (offset === FLUSHED) last = position;
  return last;
}
