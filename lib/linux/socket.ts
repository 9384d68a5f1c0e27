/** Unix sockets that carry descriptors: unix(7), recvmsg(2), cmsg(3). */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { internal, invalidArgument } from '../../kernel/errors.js';
import { check, koffi, libc, SystemError } from './libc.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x4000_0000;

/** Bytes of `sun_path`, the final NUL included. */
export const UNIX_PATH_MAX = 108;

// struct msghdr, struct iovec and struct cmsghdr of every 64-bit Linux.
const MSGHDR = { size: 56, iov: 16, iovlen: 24, control: 32, controllen: 40 };
const CMSG_LEVEL = 8;
const CMSG_TYPE = 12;
const CMSG_DATA = 16;
const CONTROL_SIZE = 64;

const sysSocket = libc.func('socket', 'int', ['int', 'int', 'int']);
const sysBind = libc.func('bind', 'int', ['int', 'void *', 'uint']);
const sysListen = libc.func('listen', 'int', ['int', 'int']);
const sysAccept = libc.func('accept4', 'int', ['int', 'void *', 'void *', 'int']);
const sysRecvmsg = libc.func('recvmsg', 'long', ['int', 'void *', 'int']);

function unixAddress(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length >= UNIX_PATH_MAX) {
    throw invalidArgument(`socket path "${path}" takes ${bytes.length} bytes, more than ${UNIX_PATH_MAX - 1}`);
  }
  const address = Buffer.alloc(2 + UNIX_PATH_MAX);
  address.writeUInt16LE(AF_UNIX);
  bytes.copy(address, 2);
  return address;
}

/** A listening, non-blocking stream socket. ALREADY_EXISTS... as bind(2) answers. */
export function listenUnix(path: string): number {
  const address = unixAddress(path);
  const fd = check(sysSocket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', path);
  try {
    check(sysBind(fd, address, address.length), 'bind', path);
    check(sysListen(fd, 1), 'listen', path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

const wouldBlock = (): boolean => koffi.errno() === constants.errno.EAGAIN;

/** A waiting connection, or -1 when there is none. */
export function acceptConnection(listener: number): number {
  const fd: number = sysAccept(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0 && !wouldBlock()) throw new SystemError('accept', String(listener), koffi.errno());
  return fd;
}

/** The descriptor sent with the next message (SCM_RIGHTS); undefined when there is no message or it carries none. */
export function receiveDescriptor(socket: number): number | undefined {
  const data = Buffer.alloc(4096);
  const control = Buffer.alloc(CONTROL_SIZE);
  const vector = new BigUint64Array([koffi.address(data), BigInt(data.length)]);
  const header = Buffer.alloc(MSGHDR.size);
  header.writeBigUInt64LE(koffi.address(vector), MSGHDR.iov);
  header.writeBigUInt64LE(1n, MSGHDR.iovlen);
  header.writeBigUInt64LE(koffi.address(control), MSGHDR.control);
  header.writeBigUInt64LE(BigInt(control.length), MSGHDR.controllen);

  if (Number(sysRecvmsg(socket, header, MSG_CMSG_CLOEXEC)) < 0) {
    if (wouldBlock()) return undefined;
    throw new SystemError('recvmsg', String(socket), koffi.errno());
  }
  if (header.readBigUInt64LE(MSGHDR.controllen) < BigInt(CMSG_DATA + 4)) return undefined;
  if (control.readInt32LE(CMSG_LEVEL) !== SOL_SOCKET || control.readInt32LE(CMSG_TYPE) !== SCM_RIGHTS) {
    throw internal(`message on socket ${socket} carries something other than a descriptor`);
  }
  return control.readInt32LE(CMSG_DATA);
}
