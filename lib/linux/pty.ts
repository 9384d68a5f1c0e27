/** Terminals: ioctl_tty(2), and receiving a pty master as OCI runtimes send it. */
import { closeSync, rmSync } from 'node:fs';
import { check, libc } from './libc.js';
import { type Watch, watchReadable } from './poll.js';
import { acceptConnection, listenUnix, receiveDescriptor } from './socket.js';

const TIOCSWINSZ = 0x5414;

const ioctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

/** Sets the size of the terminal behind a master or slave; its foreground processes get SIGWINCH. */
export function resizeTerminal(fd: number, { width, height }: { width: number; height: number }): void {
  check(ioctl(fd, TIOCSWINSZ, new Uint16Array([height, width, 0, 0])), 'ioctl TIOCSWINSZ', String(fd));
}

/**
 * The socket on which an OCI runtime delivers the pty master of a process
 * (`--console-socket`): one connection, one descriptor.
 */
export class ConsoleSocket {
  /** At most 107 bytes, the limit of unix(7). */
  readonly path: string;
  readonly #listener: number;
  readonly #watches: Watch[] = [];
  #connection = -1;
  #master: number | undefined;

  constructor(path: string) {
    this.path = path;
    this.#listener = listenUnix(path);
    this.#watches.push(watchReadable(this.#listener, () => this.#accept()));
  }

  #accept(): void {
    if (this.#connection >= 0) return;
    this.#connection = acceptConnection(this.#listener);
    if (this.#connection < 0) return;
    this.#watches.push(watchReadable(this.#connection, () => this.#receive()));
  }

  #receive(): void {
    this.#master ??= receiveDescriptor(this.#connection);
    this.#stop();
  }

  #stop(): void {
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  /**
   * Takes the master over: the runtime sends it before it ends, so call this
   * once it has ended. Undefined when it sent none.
   */
  take(): number | undefined {
    if (this.#master === undefined && this.#connection < 0) this.#accept();
    if (this.#master === undefined && this.#connection >= 0) this.#receive();
    const master = this.#master;
    this.#master = undefined;
    return master;
  }

  /** Closes and removes everything but a master that was taken. */
  close(): void {
    this.#stop();
    closeSync(this.#listener);
    if (this.#connection >= 0) closeSync(this.#connection);
    if (this.#master !== undefined) closeSync(this.#master);
    rmSync(this.path, { force: true });
  }
}
