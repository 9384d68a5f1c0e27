import { readdir, readFile, readlink } from 'node:fs/promises';
import { isErrno } from '../../lib/errno.js';

/** Inodes of the sockets that a process has open (proc(5), fd). */
async function socketsOf(pid: number): Promise<Set<string>> {
  const links = (await readdir(`/proc/${pid}/fd`)).map(async (fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(await readlink(`/proc/${pid}/fd/${fd}`))?.[1];
    } catch (error) {
      // Closed meanwhile.
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  });
  return new Set((await Promise.all(links)).filter((inode) => inode !== undefined));
}

/**
 * Names of the sockets of a process that have no place in the file system
 * (proc(5), net/unix; unix(7)): whoever shares the network namespace reaches them.
 */
export async function abstractSocketsOf(pid: number): Promise<string[]> {
  const own = await socketsOf(pid);
  const rows = (await readFile('/proc/net/unix', 'utf8')).split('\n').slice(1);
  return rows.flatMap((row) => {
    const [, , , , , , inode = '', name = ''] = row.trim().split(/\s+/);
    return name.startsWith('@') && own.has(inode) ? [name] : [];
  });
}
