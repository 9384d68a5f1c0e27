/**
 * Power cuts: a store pulls, deletes, commits and collects on a filesystem whose disk logs writes and flushes; then the
 * disk is cut at random places of the log, with any part of what was not flushed lost. What was acknowledged before
 * the cut is there after it and whole, file by file, and one collection leaves nothing else. The seed is printed.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { succeed } from '../harness/command.js';
import { scratch } from '../harness/scratch.js';
import { ScriptedRegistry } from '../hostile/registry.js';
import { type Filesystem, LoggedDisk } from './disk.js';
import { randomSource } from './random.js';
import { plannedImages } from './store-images.js';
import type { Line, Plan, Presence } from './store-plan.js';

/** Each has a third. */
const CUTS = Math.ceil(Number(process.env.KEELSON_CRASH_ROUNDS ?? 30) / 3);
/** Deeds of the store before the cuts. */
const DEEDS = 25;
const CASES: readonly { readonly filesystem: Filesystem; readonly sync: NonNullable<Plan['sync']> }[] = [
  { filesystem: 'ext4', sync: 'background' },
  { filesystem: 'ext4', sync: 'full' },
  { filesystem: 'xfs', sync: 'background' },
];
const LIFE = join(import.meta.dirname, 'store-life.js');

/** What was known at a place of the log. */
interface Moment {
  readonly at: number;
  readonly known: Readonly<Record<string, Presence>>;
}

/** A life on that directory; `heard` says whether it may go on. */
async function live(directory: string, plan: Plan, boot: string, heard: (line: Line) => boolean): Promise<void> {
  const child = spawn(process.execPath, [LIFE, directory, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, KEELSON_TEST_BOOT_ID: boot },
  });
  const exited = once(child, 'exit');
  let wrong: string | undefined;
  try {
    for await (const text of createInterface({ input: child.stdout })) {
      const line: Line = JSON.parse(text);
      if (line.event === 'wrong') wrong = line.message;
      else if (!heard(line)) child.kill('SIGKILL');
    }
  } catch (cause) {
    child.kill('SIGKILL');
    await exited;
    throw cause;
  }
  const [code, signal] = await exited;
  if (wrong !== undefined) throw new Error(wrong);
  assert.equal(signal, 'SIGKILL', `the store ended with ${code}`);
}

async function record(disk: LoggedDisk, plan: Omit<Plan, 'expected'>): Promise<readonly Moment[]> {
  const moments: Moment[] = [];
  const known: Record<string, Presence> = {};
  let answered = 0;
  await live(join(disk.path, 'store'), { ...plan, expected: {} }, 'first boot', (line) => {
    if (line.event === 'begins' && line.what !== undefined) known[line.what] = 'unknown';
    if (line.event === 'answered') {
      answered += 1;
      if (line.what !== undefined) known[line.what] = line.presence ?? 'unknown';
    }
    moments.push({ at: disk.now(), known: { ...known } });
    return answered < DEEDS;
  });
  return moments;
}

/** Of what was under way at a cut nothing is known. */
function knownAt(moments: readonly Moment[], at: number): Record<string, Presence> {
  const index = moments.findLastIndex((moment) => moment.at <= at);
  const known: Record<string, Presence> = { ...moments[index]?.known };
  const next = moments[index + 1]?.known ?? {};
  for (const [what, presence] of Object.entries(next)) if (known[what] !== presence) known[what] = 'unknown';
  return known;
}

const presentAt = (moments: readonly Moment[], at: number): number =>
  Object.values(knownAt(moments, at)).filter((presence) => presence === 'present').length;

/** Where most would be lost: one of the cuts is there, so that they are about something. */
function worst(moments: readonly Moment[]): number {
  const [place] = moments.map(({ at }) => at).sort((a, b) => presentAt(moments, b) - presentAt(moments, a));
  return place ?? 0;
}

for (const { filesystem, sync } of CASES)
  it(`an acknowledged image survives ${CUTS} power cuts under ${filesystem} with sync = "${sync}"`, async (test) => {
    const seed = Number(process.env.KEELSON_CRASH_SEED ?? Date.now() % 1_000_000);
    test.diagnostic(`KEELSON_CRASH_SEED=${seed}`);
    // The disk lies in memory.
    if (existsSync('/dev/shm')) process.env.KEELSON_TEST_DIR = '/dev/shm';
    await using place = await scratch('power');
    await using registry = await ScriptedRegistry.start();
    const random = randomSource(seed);
    const images = plannedImages(registry, random);
    const disk = await LoggedDisk.mount(place.path, filesystem);
    const moments = await record(disk, { seed, images, sync }).finally(() => disk[Symbol.asyncDispose]());
    const end = moments.at(-1)?.at ?? 0;
    const mounted = join(place.path, 'after');
    mkdirSync(mounted);
    let acknowledged = 0;
    for (let cut = 0; cut < CUTS; cut += 1) {
      const at = cut === 0 ? worst(moments) : Math.floor(random() * end);
      const file = join(place.path, 'cut');
      await disk.cut(file, at, random);
      await succeed('mount', ['-o', 'loop', file, mounted]);
      try {
        const expected = knownAt(moments, at);
        acknowledged += presentAt(moments, at);
        const plan = { seed: seed + cut, images, expected, sync };
        // Verified, and the next pull answered.
        const heard = (line: Line): boolean => line.event !== 'answered';
        await live(join(mounted, 'store'), plan, `boot ${cut}`, heard).catch((cause: unknown) => {
          throw new Error(`cut ${cut} at byte ${at} of ${end}: ${cause}`, { cause });
        });
      } finally {
        await succeed('umount', [mounted]);
        rmSync(file);
      }
    }
    test.diagnostic(`${end} bytes of writes and flushes; ${acknowledged} things acknowledged before a cut, none lost`);
    assert.ok(acknowledged > 0);
  });
