/**
 * A program that changes snapshots at random until it is killed, or has done
 * its part: `snapshotter-worker KIND ROOT SEED`. Before each change it prints what
 * it is about to do, and "done" when that is acknowledged, so that whoever
 * reads its output knows what must have survived.
 */
import { writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { type Change, KINDS, openKind, type Step } from './snapshotter-model.js';

const [kind, root, seed] = z.tuple([z.enum(KINDS), z.string(), z.coerce.number().int()]).parse(process.argv.slice(2));

const CHANGES = 60;

/** xorshift32: the same changes for the same seed. */
let state = seed | 1;
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const pick = <T>(list: readonly T[]): T | undefined => list[random(list.length)];

const say = (step: Step): void => void writeSync(1, `${JSON.stringify(step)}\n`);

/** The directory that a snapshot writes to, found in its mounts. */
function writable([mount]: readonly Mount[]): string {
  const upper = mount?.options.find((option) => option.startsWith('upperdir='));
  return upper === undefined ? (mount?.source ?? '') : upper.slice('upperdir='.length);
}

const snapshotter = await openKind(kind, root);
const active: string[] = [];
const committed: string[] = [];
/** Name of a snapshot to that of its parent. */
const parents = new Map<string, string>();

async function doing(change: Change, work: () => Promise<void>): Promise<void> {
  say(change);
  await work();
  say({ done: true });
}

function forget(list: string[], name: string): void {
  list.splice(list.indexOf(name), 1);
}

async function prepare(key: string): Promise<void> {
  const parent = pick(['', ...committed]) ?? '';
  let mounts: readonly Mount[] = [];
  await doing({ change: 'prepare', key, parent }, async () => {
    mounts = await snapshotter.prepare(key, parent);
  });
  active.push(key);
  parents.set(key, parent);
  // What is written before the commit must be there after it.
  writeFileSync(join(writable(mounts), key), key);
}

async function commit(key: string): Promise<void> {
  const name = `${key} committed`;
  await doing({ change: 'commit', key, name }, () => snapshotter.commit(name, key));
  forget(active, key);
  committed.push(name);
  parents.set(name, parents.get(key) ?? '');
  parents.delete(key);
}

async function remove(key: string): Promise<void> {
  await doing({ change: 'remove', key }, () => snapshotter.remove(key));
  forget(active.includes(key) ? active : committed, key);
  parents.delete(key);
  await snapshotter.cleanup();
}

for (let number = 0; number < CHANGES; number += 1) {
  const dice = random(10);
  const key = pick(active);
  const childless = [...active, ...committed].filter((name) => ![...parents.values()].includes(name));
  const victim = pick(childless);
  if (dice < 2 && victim !== undefined) await remove(victim);
  else if (dice < 6 && key !== undefined) await commit(key);
  else await prepare(`key ${seed}.${number}`);
}
await snapshotter.close();
