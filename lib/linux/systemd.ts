/** Readiness told to the service manager: sd_notify(3), a datagram to the socket named by NOTIFY_SOCKET. */
import { closeSync } from 'node:fs';
import { check, libc } from './libc.js';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const MSG_NOSIGNAL = 0x4000;

const socket = libc.func('socket', 'int', ['int', 'int', 'int']);
const sendto = libc.func('sendto', 'long', ['int', 'void *', 'size_t', 'int', 'void *', 'uint32_t']);

/** sockaddr_un (unix(7)): family, then the path; a leading `@` stands for the zero byte of an abstract name. */
export function socketAddress(name: string): Buffer {
  const path = Buffer.from(name);
  if (path[0] === 0x40) path[0] = 0;
  return Buffer.concat([Buffer.from([AF_UNIX, 0]), path, ...(path[0] === 0 ? [] : [Buffer.alloc(1)])]);
}

/** Sends one state, for example `READY=1`, to the socket at `address`. Throws SystemError. */
export function notifySystemd(address: string, state: string): void {
  const fd = check(socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0), 'make a socket for', address);
  try {
    const message = Buffer.from(state);
    const target = socketAddress(address);
    check(Number(sendto(fd, message, message.length, MSG_NOSIGNAL, target, target.length)), 'notify', address);
  } finally {
    closeSync(fd);
  }
}
