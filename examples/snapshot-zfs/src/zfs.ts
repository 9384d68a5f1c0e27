/** The commands zfs(8) and zpool(8), one at a time: the daemon of zfs-fuse answers one caller anyway. */
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const execute = promisify(execFile);

let last: Promise<unknown> = Promise.resolve();

function command(program: string, args: readonly string[]): Promise<string> {
  const call = async (): Promise<string> => {
    const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
    return (await execute(program, [...args], { env, timeout: 60_000 })).stdout;
  };
  const result = last.then(call, call);
  last = result;
  return result;
}

/** Runs `zfs`; resolves to its output, rejects with what it complained of. */
export const zfs = (...args: readonly string[]): Promise<string> => command('zfs', args);

export const zpool = (...args: readonly string[]): Promise<string> => command('zpool', args);

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Why ZFS cannot be used on this host at all, or undefined when it can. */
export async function zfsMissing(): Promise<string | undefined> {
  try {
    await zpool('list', '-H', '-o', 'name');
    return undefined;
  } catch (error) {
    return `ZFS does not answer: ${messageOf(error).trim()}`;
  }
}

/** Milliseconds that ZFS takes at most to notice that the last mount of a dataset went. */
const NOTICE = 2000;

/** Makes a snapshot unless it is there. */
export async function snapshot(name: string): Promise<'made' | 'there' | 'no dataset'> {
  try {
    await zfs('snapshot', name);
    return 'made';
  } catch (error) {
    if (messageOf(error).includes('already exists')) return 'there';
    if (messageOf(error).includes('does not exist')) return 'no dataset';
    throw error;
  }
}

/** Destroys a dataset with what is below it; none there is fine. zfs-fuse lets go of one a moment after it is unmounted: until then it is busy. */
export async function destroy(name: string): Promise<void> {
  let busy = '';
  for (let end = 0; ; await delay(20)) {
    try {
      await zfs('destroy', '-r', '-f', name);
      return;
    } catch (error) {
      const message = messageOf(error);
      if (message.includes('does not exist')) return;
      if (message !== busy) end = performance.now() + NOTICE;
      busy = message;
      if (!message.includes('is busy') || performance.now() > end) throw error;
    }
  }
}

export interface Dataset {
  readonly name: string;
  readonly mounted: boolean;
}

/** The datasets below one, without that one. Rejects when it does not exist. */
export async function datasetsBelow(parent: string): Promise<Dataset[]> {
  const lines = (await zfs('list', '-H', '-r', '-t', 'filesystem', '-o', 'name,mounted', parent)).split('\n');
  return lines
    .map((line) => line.split('\t'))
    .filter(([name = '']) => name.startsWith(`${parent}/`))
    .map(([name = '', mounted]) => ({ name, mounted: mounted === 'yes' }));
}

export async function exists(name: string): Promise<boolean> {
  try {
    await zfs('list', '-H', '-o', 'name', name);
    return true;
  } catch (error) {
    if (messageOf(error).includes('does not exist')) return false;
    throw error;
  }
}
