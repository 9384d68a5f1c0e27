/**
 * Listening on a unix socket that nobody but its owner and group can ever
 * reach: it is made inside a fresh private directory, gets its rights there,
 * and only then is renamed to its address (unix(7), rename(2)).
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname, isAbsolute, join } from 'node:path';
import { failedPrecondition, invalidArgument } from '../../kernel/errors.js';
import { isErrno, whileDoing } from '../errno.js';

/** Bytes of a socket address, without the final zero (unix(7)). */
const MAX_SOCKET_PATH = 107;
const SOCKET_MODE = 0o660;
const DIRECTORY_MODE = 0o711;

export interface SocketAddress {
  /** Absolute path. Its directory is made when it is missing. */
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
}

/** A socket that listens. */
export interface Listener {
  /** Accepts no more and removes the socket, unless another has taken the address. Connections stay. Idempotent. */
  close(): Promise<void>;
}

const statIfThere = (path: string) => lstatSync(path, { bigint: true, throwIfNoEntry: false });

/** Whether anything accepts connections at the socket; when in doubt, yes. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect(path);
    const settle = (live: boolean): void => {
      probe.destroy();
      resolve(live);
    };
    probe.once('connect', () => settle(true));
    probe.once('error', (error) => settle(!isErrno(error, 'ECONNREFUSED', 'ENOENT')));
  });

function checkPath(path: string): void {
  if (!isAbsolute(path)) throw invalidArgument(`socket address "${path}" is not an absolute path`);
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH) return;
  throw invalidArgument(`socket address "${path}" takes ${bytes} bytes, more than ${MAX_SOCKET_PATH}`, {
    remedy: 'choose a shorter path',
  });
}

/** A stale socket may stay: the rename replaces it. */
async function checkFree(path: string): Promise<void> {
  const there = statIfThere(path);
  if (there === undefined) return;
  if (there.isSymbolicLink()) {
    throw failedPrecondition(`socket address "${path}" is a symbolic link`, { remedy: 'remove it or use its target' });
  }
  if (!there.isSocket()) {
    throw failedPrecondition(`socket address "${path}" is taken by something that is not a socket`, {
      remedy: 'remove it or choose another address',
    });
  }
  if (await answers(path)) {
    throw failedPrecondition(`another process serves "${path}"`, { remedy: 'stop it or choose another address' });
  }
}

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });

const stopAccepting = (server: Server): void => {
  if (server.listening) server.close();
};

function removeIfSame(path: string, inode: bigint): void {
  const there = statIfThere(path);
  if (there?.ino === inode) unlinkSync(path);
}

/** Makes the socket where nobody else can see it, and moves it to its address. Resolves to its inode. */
async function bind(server: Server, { path, uid, gid }: SocketAddress): Promise<bigint> {
  const staging = mkdtempSync(join(dirname(path), '.'));
  const staged = join(staging, 's');
  try {
    await listen(server, staged);
    chownSync(staged, uid, gid);
    chmodSync(staged, SOCKET_MODE);
    const { ino } = lstatSync(staged, { bigint: true });
    renameSync(staged, path);
    rmdirSync(staging);
    return ino;
  } catch (error) {
    stopAccepting(server);
    rmSync(staging, { recursive: true, force: true });
    throw error;
  }
}

async function take(server: Server, address: SocketAddress): Promise<bigint> {
  mkdirSync(dirname(address.path), { recursive: true, mode: DIRECTORY_MODE });
  await checkFree(address.path);
  return bind(server, address);
}

/**
 * Binds `server` to the address with mode 0660. File system calls block here, as each takes microseconds.
 *
 * INVALID_ARGUMENT for an address that is relative or too long;
 * FAILED_PRECONDITION when it is a symbolic link, no socket, or served by
 * another process; a socket that nobody serves any more is replaced.
 */
export async function listenOnSocket(server: Server, address: SocketAddress): Promise<Listener> {
  const { path } = address;
  checkPath(path);
  const doing = `making the socket "${path}"`;
  const inode = await whileDoing(doing, take(server, address));
  return {
    async close() {
      stopAccepting(server);
      removeIfSame(path, inode);
    },
  };
}
