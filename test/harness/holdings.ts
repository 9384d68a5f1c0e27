/**
 * What a part of this process holds, looked at before it starts and after it has
 * stopped: files and sockets, timers and other handles, children, and what
 * names its directory on this machine. What is new then was leaked.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { belongings } from './leaks.js';

/** Milliseconds between two looks. */
const INTERVAL = 20;

/** A thing's look, or undefined when it is gone by now. */
const unlessGone = (look: Promise<string>): Promise<string | undefined> => look.catch(() => undefined);

/** Files with a name, and sockets; what the runtime itself makes when it first needs it has no name. */
async function descriptors(): Promise<string[]> {
  const numbers = await readdir('/proc/self/fd');
  const targets = await Promise.all(numbers.map((number) => unlessGone(readlink(`/proc/self/fd/${number}`))));
  return targets
    .filter((target) => target !== undefined)
    .filter(
      (target) => target.startsWith('socket:') || (target.startsWith('/') && !/^\/(?:dev|proc|sys)\//.test(target)),
    )
    .map((target) => `open descriptor of ${target}`);
}

async function children(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const stat = (await unlessGone(readFile(`/proc/${pid}/stat`, 'utf8'))) ?? '';
      // proc_pid_stat(5): the name may hold anything, in parentheses
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(parent) === process.pid
        ? [`child process ${pid}${stat.slice(stat.indexOf(' '), stat.lastIndexOf(')') + 1)}`]
        : [];
    }),
  );
  return found.flat();
}

async function look(directory: string): Promise<string[]> {
  // Of no run, so that only what names the directory is found.
  const named = await belongings({ directory, id: 'none' });
  const held = [...named, ...(await descriptors()), ...(await children())];
  // Last, and without waiting for anything after it: whoever looks is no leak.
  return [...held, ...process.getActiveResourcesInfo().map((kind) => `active ${kind}`)];
}

/** What of `after` is not in `before`, as often as it is there more often. */
function beyond(before: readonly string[], after: readonly string[]): string[] {
  const left = [...before];
  return after.filter((thing) => {
    const at = left.indexOf(thing);
    if (at < 0) return true;
    left.splice(at, 1);
    return false;
  });
}

export class Holdings {
  readonly #directory: string;
  readonly #before: readonly string[];

  private constructor(directory: string, before: readonly string[]) {
    this.#directory = directory;
    this.#before = before;
  }

  static async now(directory: string): Promise<Holdings> {
    return new Holdings(directory, await look(directory));
  }

  /** What is held beyond that, once what is being closed has had its time: that many milliseconds. */
  async leaked(patience = 0): Promise<readonly string[]> {
    const deadline = performance.now() + patience;
    for (;;) {
      const leaked = beyond(this.#before, await look(this.#directory));
      if (leaked.length === 0 || performance.now() > deadline) return leaked;
      await delay(INTERVAL);
    }
  }
}
