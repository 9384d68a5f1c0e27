/**
 * The kill matrix: daemon, supervisor or both are killed (SIGKILL) at random
 * instants of a container's life. Whatever the instant, a client that repeats
 * what it lost the answer of sees the true exit status of every process, one
 * exit event each, output without gap or repetition, and nothing is left over.
 *
 * `KEELSON_CRASH_SEED=N` repeats a run, `KEELSON_CRASH_ROUNDS=N` its length;
 * a round that fails names its own seed: `KEELSON_CRASH_ROUND=SEED:NUMBER` runs that alone.
 */
import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../harness/eventually.js';
import { groupDirectory } from '../harness/limited-group.js';
import { supervisorsBelow } from '../harness/runc.js';
import { Life } from './tasks-life.js';
import { MOMENTS, type Moment, type Plan, planRound } from './tasks-plan.js';
import { World } from './tasks-world.js';

const SEED = Number(process.env.KEELSON_CRASH_SEED ?? Date.now() % 1_000_000_000);
const ROUNDS = Number(process.env.KEELSON_CRASH_ROUNDS ?? 200);
const [ONE_SEED, ONE_NUMBER] = (process.env.KEELSON_CRASH_ROUND ?? '').split(':');
/** Daemons that are killed side by side. */
const WORLDS = 4;

/** Milliseconds that each moment usually takes: the longest of late, so that kills fall anywhere in it. */
const usual: Record<Moment, number> = { create: 150, start: 40, exec: 150, running: 100, exit: 30, delete: 60 };

async function playRound(world: World, plan: Plan, name: string): Promise<Life[]> {
  let struck: Promise<void> | undefined;
  let begun = performance.now();
  let current: Moment | undefined;
  const onMoment = (moment: Moment): void => {
    if (current !== undefined && struck === undefined) {
      usual[current] = 0.8 * usual[current] + 0.2 * (performance.now() - begun);
    }
    [current, begun] = [moment, performance.now()];
    if (moment === plan.moment) struck = delay(plan.fraction * usual[moment]).then(() => world.strike(plan));
    struck?.catch(() => undefined); // told to whoever waits for it below
  };
  const lives = plan.lives.map((life, n) => new Life(world, `${name}-${n}`, life, n === 0 ? onMoment : () => {}));
  await Promise.all(lives.map((life) => life.live()));
  await struck;
  await nothingLeft(world, name);
  return lives;
}

const namesBelow = (path: string): Promise<string[]> => readdir(path).catch(() => []);

/** Of that round's containers; what the whole world leaves is looked for when it ends. */
async function nothingLeft(world: World, name: string): Promise<void> {
  const tasks = join(world.daemon.state, 'io.containerd.runtime.v2.task');
  const left = async (): Promise<string[]> => {
    const bundles = await namesBelow(join(tasks, world.namespace));
    const states = await namesBelow(join(tasks, '.runtime', world.namespace));
    const groups = await namesBelow(groupDirectory(`/${world.namespace}`, 'pids'));
    return [...bundles, ...states, ...groups].filter((entry) => entry.startsWith(name));
  };
  await eventually(`nothing is left of ${name}`, async () => ((await left()).length === 0 ? true : undefined));
}

/** What supervisors leave in their directories besides what each has. */
async function workFiles(world: World): Promise<string[]> {
  const supervisors = join(world.daemon.state, 'io.containerd.runtime.v2.task', '.s');
  const files = (await namesBelow(supervisors)).map((name) => namesBelow(join(supervisors, name)));
  return (await Promise.all(files)).flat().filter((name) => !['group', 'lock', 'log', 's'].includes(name));
}

async function openFifos(world: World): Promise<string[]> {
  const pids = [world.daemon.pid, ...(await supervisorsBelow(world.daemon.directory))];
  const links = pids.map(async (pid) => {
    const numbers = await namesBelow(`/proc/${pid}/fd`);
    return Promise.all(numbers.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  });
  return (await Promise.all(links)).flat().filter((target) => target.includes('/fifos/'));
}

/** Each process that ran has one exit event: one content, and no subscription saw it twice. */
async function oneExitEach(world: World, lives: readonly Life[]): Promise<void> {
  for (const { key, exitStatus } of lives.flatMap(({ processes }) => processes)) {
    const seen = await eventually(`exit event of ${key}`, () => world.exits.get(key));
    const distinct = new Set(seen.map((exit) => `pid ${exit.pid}, status ${exit.exitStatus}, at ${exit.exitedAt}`));
    assert.equal(distinct.size, 1, `exit events of ${key}: ${[...distinct].join('; ')}`);
    assert.equal(new Set(seen.map(({ subscription }) => subscription)).size, seen.length, `${key} told twice`);
    assert.ok(exitStatus.includes(seen[0]?.exitStatus ?? -1), `${key}: ${[...distinct].join()}, not ${exitStatus}`);
  }
}

/** Plays rounds until there are none left; what failed is told with its seed, and ends it. */
async function playAll(index: number, rounds: Iterator<Plan & { readonly round: number }>): Promise<void> {
  await using world = await World.open(`kill${index}`);
  const lives: Life[] = [];
  for (let next = rounds.next(); !next.done; next = rounds.next()) {
    const { round, ...plan } = next.value;
    try {
      lives.push(...(await playRound(world, plan, `r${round}`)));
    } catch (error) {
      const { seed, victim, moment } = plan;
      throw new Error(`KEELSON_CRASH_ROUND=${seed}:${round} (${victim} killed at ${moment}): ${error}`, {
        cause: error,
      });
    }
  }
  await oneExitEach(world, lives);
  await eventually('no file of work', async () => ((await workFiles(world)).length === 0 ? true : undefined));
  await eventually('no FIFO is open', async () => ((await openFifos(world)).length === 0 ? true : undefined));
}

function* allRounds(): Generator<Plan & { readonly round: number }> {
  if (ONE_SEED && ONE_NUMBER) yield { ...planRound(Number(ONE_SEED), Number(ONE_NUMBER)), round: Number(ONE_NUMBER) };
  else for (let round = 0; round < ROUNDS; round++) yield { ...planRound(SEED + round, round), round };
}

describe('daemon, supervisor or both killed at any instant', () => {
  it(`${ROUNDS} rounds over ${MOMENTS.join(', ')} with seed ${SEED}`, async (t) => {
    t.diagnostic(`KEELSON_CRASH_SEED=${SEED}`);
    const rounds = allRounds();
    const played = Array.from({ length: WORLDS }, (_, index) => playAll(index, rounds));
    const failed = (await Promise.allSettled(played)).filter((result) => result.status === 'rejected');
    const first = failed.map(({ reason }) => (reason instanceof SuppressedError ? reason.suppressed : reason));
    if (first.length > 0) assert.fail(first.map((error) => String(error)).join('\n\n'));
  });
});
