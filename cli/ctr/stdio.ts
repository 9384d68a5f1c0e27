/**
 * The stdio of a task as seen from its client: FIFOs (fifo(7)) whose paths the
 * daemon is given, joined to this program's own streams.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { makeFifo } from '../../lib/linux/fifo.js';

const { O_RDONLY, O_WRONLY, O_RDWR, O_NONBLOCK } = constants;

export const DEFAULT_FIFO_DIRECTORY = '/run/keelson/fifo';

/** Paths as the API wants them; an empty path is /dev/null. */
export interface StdioPaths {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
}

export const NULL_STDIO: StdioPaths = { stdin: '', stdout: '', stderr: '', terminal: false };

/** Makes the FIFOs of one process in a directory of its own. A terminal has no stderr. */
export async function makeStdio(base: string, id: string, terminal: boolean): Promise<StdioPaths> {
  const directory = join(base, randomBytes(8).toString('hex'));
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const fifo = (stream: string): string => {
    const path = join(directory, `${id}-${stream}`);
    makeFifo(path, 0o700);
    return path;
  };
  return { stdin: fifo('stdin'), stdout: fifo('stdout'), stderr: terminal ? '' : fifo('stderr'), terminal };
}

/** True for FIFOs that {@link makeStdio} made, not some other client: the names are ours. */
export const isOwnStdio = (id: string, { stdout }: StdioPaths): boolean =>
  /^[0-9a-f]{16}$/.test(basename(dirname(stdout))) && basename(stdout) === `${id}-stdout`;

/** Removes FIFOs made by {@link makeStdio}, and their directory; those already gone do not matter. */
export async function removeStdio({ stdin, stdout, stderr }: StdioPaths): Promise<void> {
  const paths = [stdin, stdout, stderr].filter((path) => path.startsWith('/'));
  await Promise.all(paths.map((path) => rm(path, { force: true })));
  const [first] = paths;
  if (first !== undefined) await rmdir(dirname(first)).catch(unlessStillInUse);
}

function unlessStillInUse(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'ENOENT') throw error;
}

export interface Streams {
  readonly stdin?: NodeJS.ReadableStream;
  /** Called when `stdin` has ended: the daemon holds the FIFO open and must be told to close it. */
  readonly onStdinEnd?: () => void;
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** Our ends of the FIFOs. First {@link hold}, then create and start the process or find it, then {@link connect}. */
export class StdioClient implements Disposable {
  readonly #paths: StdioPaths;
  /** Both ends of each output, so that whoever opens the other end never waits for us. */
  #held: readonly number[] = [];
  readonly #sockets: Socket[] = [];

  constructor(paths: StdioPaths) {
    this.#paths = paths;
  }

  get #outputs(): readonly string[] {
    return [this.#paths.stdout, this.#paths.stderr].filter((path) => path !== '');
  }

  /** Opens the outputs without waiting for the process. */
  hold(): void {
    this.#held = this.#outputs.map((path) => openSync(path, O_RDWR | O_NONBLOCK));
  }

  /**
   * Copies between the FIFOs and `streams`. The process must have started: some
   * shims open their ends only then, and while nobody else holds them, ours
   * cannot be opened one-way, without which the end of output would never show.
   * What was written meanwhile waits in the FIFO. Resolves when all output has ended.
   */
  connect({ stdin, stdout, stderr, onStdinEnd }: Streams): Promise<void> {
    const copies = [this.#copy(this.#paths.stdout, stdout), this.#copy(this.#paths.stderr, stderr)];
    for (const fd of this.#held) closeSync(fd);
    this.#held = [];
    if (stdin && this.#paths.stdin !== '') this.#feed(stdin, onStdinEnd);
    return Promise.all(copies).then(() => undefined);
  }

  #copy(path: string, target: NodeJS.WritableStream): Promise<void> {
    if (path === '') return Promise.resolve();
    const source = new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), readable: true, writable: false });
    this.#sockets.push(source);
    source.pipe(target, { end: false });
    return new Promise((resolve, reject) => {
      source.once('end', resolve).once('close', resolve).once('error', reject);
    });
  }

  #feed(stdin: NodeJS.ReadableStream, onStdinEnd?: () => void): void {
    const fd = openWriter(this.#paths.stdin);
    if (fd === undefined) return;
    const target = new Socket({ fd, readable: false, writable: true });
    this.#sockets.push(target);
    target.once('error', () => stdin.unpipe(target)); // EPIPE: the process reads no more
    stdin.pipe(target);
    if (onStdinEnd) stdin.once('end', onStdinEnd);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#held) closeSync(fd);
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Undefined when the process has ended and nobody reads any more. */
function openWriter(path: string): number | undefined {
  try {
    return openSync(path, O_WRONLY | O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENXIO') return undefined;
    throw error;
  }
}

/** Starts a process that nobody here listens to: the outputs are held until the daemon has opened its ends. */
export async function startDetached(stdio: StdioPaths, start: () => Promise<void>): Promise<void> {
  using streams = new StdioClient(stdio);
  streams.hold();
  await start();
}
