/** Containers for checks of runtimes: a root filesystem of busybox, specs, and clients at the other end of FIFOs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Stdio } from '../../kernel/contracts/runtime.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { makeFifo } from '../../lib/linux/fifo.js';
import {
  applyChanges,
  type Change,
  defaultSpec,
  type Process,
  withArgs,
  withTerminal,
} from '../../lib/oci/runtime-spec.js';

const BUSYBOX = '/usr/bin/busybox';
const APPLETS =
  'sh cat echo sleep true false stty id ls ps kill env pwd date dd yes mkfifo mkdir seq usleep touch head';
const DIRECTORIES = ['bin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'run'];

export const SPEC_URL = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
export const PROCESS_URL = 'types.containerd.io/opencontainers/runtime-spec/1/Process';

/** Makes a root filesystem in a directory; the mount that brings it into a bundle. Static busybox must be installed. */
export async function busyboxRootfs(directory: string): Promise<Mount> {
  for (const name of DIRECTORIES) await mkdir(join(directory, name), { recursive: true });
  await copyFile(BUSYBOX, join(directory, 'bin/busybox'));
  for (const name of APPLETS.split(' ')) await symlink('busybox', join(directory, 'bin', name));
  return { type: 'bind', source: directory, target: '', options: ['rbind', 'rw'] };
}

/** The spec of a container that runs a shell script. */
export function specOf(namespace: string, id: string, script: string, ...changes: readonly Change[]): AnyMessage {
  const spec = applyChanges(defaultSpec(namespace, id), [withArgs(['/bin/sh', '-c', script]), ...changes]);
  return { typeUrl: SPEC_URL, value: Buffer.from(JSON.stringify(spec)) };
}

/** The OCI process of an exec that runs a shell script. */
export function processOf(script: string, terminal = false, change: Partial<Process> = {}): AnyMessage {
  const spec = applyChanges(defaultSpec('x', 'x'), [
    withArgs(['/bin/sh', '-c', script]),
    ...(terminal ? [withTerminal] : []),
  ]);
  return { typeUrl: PROCESS_URL, value: Buffer.from(JSON.stringify({ ...spec.process, ...change })) };
}

export const NO_STREAMS: Stdio = { terminal: false, stdin: '', stdout: '', stderr: '' };

/** A program of its own that reads a FIFO, as a client does: it can be slow, and it can be killed. */
export class Reader {
  readonly #cat: ChildProcess;
  readonly #ended: Promise<unknown>;
  #text = '';
  #arrived = Promise.withResolvers<void>();

  constructor(fifo: string) {
    this.#cat = spawn('cat', [fifo], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#cat.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      this.#arrived.resolve();
      this.#arrived = Promise.withResolvers();
    });
    this.#ended = once(this.#cat, 'close');
  }

  /** What has arrived so far. */
  get text(): string {
    return this.#text;
  }

  /** Resolves once what has arrived satisfies the condition, or nothing more comes. */
  async until(holds: (text: string) => boolean): Promise<void> {
    let ended = false;
    const end = this.#ended.then(() => {
      ended = true;
    });
    while (!ended && !holds(this.#text)) await Promise.race([this.#arrived.promise, end]);
  }

  /** Everything, up to the end of file. */
  async all(): Promise<string> {
    await this.#ended;
    return this.#text;
  }

  async kill(): Promise<void> {
    this.#cat.kill('SIGKILL');
    await this.#ended;
  }
}

/** A program of its own that writes to a FIFO what it is given. */
export class Writer {
  readonly #cat: ChildProcess;

  constructor(fifo: string) {
    this.#cat = spawn('sh', ['-c', `exec cat > "${fifo}"`], { stdio: ['pipe', 'ignore', 'inherit'] });
  }

  write(text: string): void {
    this.#cat.stdin?.write(text);
  }

  /** Leaves, as a client that goes away. */
  async end(): Promise<void> {
    this.#cat.stdin?.end();
    await once(this.#cat, 'close');
  }

  async kill(): Promise<void> {
    this.#cat.kill('SIGKILL');
    await once(this.#cat, 'close');
  }
}

/** FIFOs as a client makes them, in a directory of their own. */
export class Fifos {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;

  private constructor(directory: string) {
    this.stdin = join(directory, 'stdin');
    this.stdout = join(directory, 'stdout');
    this.stderr = join(directory, 'stderr');
  }

  static async make(directory: string): Promise<Fifos> {
    await mkdir(directory, { recursive: true });
    const fifos = new Fifos(directory);
    for (const path of [fifos.stdin, fifos.stdout, fifos.stderr]) makeFifo(path);
    return fifos;
  }

  /** Reads both outputs. */
  readers(): { readonly stdout: Reader; readonly stderr: Reader } {
    return { stdout: new Reader(this.stdout), stderr: new Reader(this.stderr) };
  }

  get output(): Stdio {
    return { terminal: false, stdin: '', stdout: this.stdout, stderr: this.stderr };
  }

  get all(): Stdio {
    return { terminal: false, stdin: this.stdin, stdout: this.stdout, stderr: this.stderr };
  }

  get terminal(): Stdio {
    return { terminal: true, stdin: this.stdin, stdout: this.stdout, stderr: '' };
  }
}
