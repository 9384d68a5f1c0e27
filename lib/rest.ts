/**
 * Giving memory back at rest. V8 collects when there is something to allocate,
 * and the C library keeps what was freed: a process that has nothing to do any
 * more would hold on to what its last work left behind, for hours.
 */
import { collectAll } from './garbage.js';
import { trimMemory } from './linux/memory.js';

/** Milliseconds between two looks whether there is anything to do. */
const LOOK = 2000;
/** Microseconds of processor time between two looks that are no work yet. */
const AT_REST = 20_000;
/** Microseconds of work after which there may be so much to give back that it is worth some tens of milliseconds. */
const WORTHWHILE = 100_000;

function worked(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** From now on this process gives memory back when it comes to rest. Keeps nothing alive. */
export function tidyAtRest(): void {
  let before = worked();
  // What it took to start counts, too.
  let tidied = 0;
  setInterval(() => {
    const now = worked();
    const isAtRest = now - before < AT_REST;
    before = now;
    if (!isAtRest || now - tidied < WORTHWHILE) return;
    collectAll();
    trimMemory();
    before = worked();
    tidied = before;
  }, LOOK).unref();
}
