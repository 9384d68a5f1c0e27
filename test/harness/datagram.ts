/** A unix datagram socket to receive on, which Node does not have: what a service manager listens with. */
import { closeSync } from 'node:fs';
import { check, libc } from '../../lib/linux/libc.js';
import { socketAddress } from '../../lib/linux/systemd.js';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const MSG_DONTWAIT = 0x40;

const socket = libc.func('socket', 'int', ['int', 'int', 'int']);
const bind = libc.func('bind', 'int', ['int', 'void *', 'uint32_t']);
const recv = libc.func('recv', 'long', ['int', 'void *', 'size_t', 'int']);

export class DatagramSocket implements Disposable {
  readonly #fd: number;

  /** `address` as in NOTIFY_SOCKET: a path, or an abstract name after `@`. */
  constructor(address: string) {
    this.#fd = check(socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0), 'make a socket for', address);
    const target = socketAddress(address);
    check(bind(this.#fd, target, target.length), 'bind', address);
  }

  /** The next message that has arrived, if any. */
  receive(): string | undefined {
    const buffer = Buffer.alloc(4096);
    const length = Number(recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT));
    return length < 0 ? undefined : buffer.toString('utf8', 0, length);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
