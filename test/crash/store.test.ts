/**
 * A store killed at 200 random instants of pull, unpack, commit, delete and collection, and of the recovery from
 * that: nothing acknowledged is lost, one collection leaves nothing else, the next pull succeeds, and nobody
 * repairs anything by hand. The seed is printed; KEELSON_CRASH_SEED repeats the order of things, not the instants.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { scratch } from '../harness/scratch.js';
import { ScriptedRegistry } from '../hostile/registry.js';
import { randomSource } from './random.js';
import { plannedImages } from './store-images.js';
import type { Deed, Line, Plan, Presence } from './store-plan.js';

const KILLS = Number(process.env.KEELSON_CRASH_ROUNDS ?? 200);
/** Stores at a time, each in a directory of its own. */
const STORES = 2;
const LIFE = join(import.meta.dirname, 'store-life.js');
/** Deeds after the check before the one in which it dies, at most. */
const MOST_DEEDS = 2;
/** Milliseconds that each deed usually takes, measured as it goes, so that kills fall anywhere in it. */
const usual: Record<Deed, number> = { pull: 150, delete: 20, commit: 20, remove: 20, collect: 20 };

/** How many were killed in the middle of what. */
type Tally = Map<string, number>;

/** One life: resolves to what is known of the things afterwards. */
async function life(directory: string, plan: Plan, random: () => number, tally: Tally): Promise<Plan['expected']> {
  const known: Record<string, Presence> = { ...plan.expected };
  const child = spawn(process.execPath, [LIFE, directory, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let wrong: string | undefined;
  let doing: Deed | 'recovery' | 'nothing' = 'recovery';
  // Some die while they recover.
  const early = random() < 0.15;
  let left = Math.floor(random() * (MOST_DEEDS + 1));
  let begun = 0;
  const kill = async (latest: number): Promise<void> => {
    await pause(random() * latest);
    child.kill('SIGKILL');
  };
  if (early) void kill(600);
  for await (const text of createInterface({ input: child.stdout })) {
    const line: Line = JSON.parse(text);
    if (line.event === 'wrong') wrong = line.message;
    if (line.event === 'verified') doing = 'nothing';
    if (line.event === 'begins') {
      doing = line.deed;
      begun = performance.now();
      if (!early && left-- === 0) void kill(usual[line.deed]);
      if (line.what !== undefined) known[line.what] = 'unknown';
    }
    if (line.event === 'answered') {
      if (doing !== 'recovery' && doing !== 'nothing')
        usual[doing] = 0.8 * usual[doing] + 0.2 * (performance.now() - begun);
      doing = 'nothing';
      if (line.what !== undefined) known[line.what] = line.presence ?? 'unknown';
    }
  }
  const [code, signal] = await exited;
  assert.ok(wrong === undefined, wrong ?? '');
  assert.equal(signal, 'SIGKILL', `it ended with ${code}`);
  tally.set(doing, (tally.get(doing) ?? 0) + 1);
  return known;
}

it(`keeps what it acknowledged and nothing else through ${KILLS} kills`, async (test) => {
  const seed = Number(process.env.KEELSON_CRASH_SEED ?? Date.now() % 1_000_000);
  test.diagnostic(`KEELSON_CRASH_SEED=${seed}`);
  await using registry = await ScriptedRegistry.start();
  const images = plannedImages(registry, randomSource(seed));
  const tally: Tally = new Map();
  const store = async (index: number): Promise<void> => {
    await using directory = await scratch('killed');
    const random = randomSource(seed + index);
    let expected: Plan['expected'] = {};
    for (let kill = 0; kill < KILLS / STORES; kill += 1) {
      const plan = { seed: Math.floor(random() * 2 ** 31), images, expected };
      expected = await life(directory.path, plan, random, tally).catch((cause: unknown) => {
        throw new Error(`kill ${kill} of store ${index}, ${JSON.stringify(expected)}: ${cause}`, { cause });
      });
    }
  };
  // Each to its end: a directory is removed when nobody uses it any more.
  const outcomes = await Promise.allSettled(Array.from({ length: STORES }, (_, index) => store(index)));
  test.diagnostic(`killed in the middle of: ${[...tally].map(([deed, count]) => `${deed} ${count}`).join(', ')}`);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
});
