/**
 * The collector against a model of what refers to what, through random histories: nothing that can be
 * reached is collected, everything else is. The seed is printed; KEELSON_TEST_SEED repeats one.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { it, type TestContext } from 'node:test';
import { pino } from 'pino';
import type { ContentStore } from '../../kernel/contracts/content.js';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import { LocalStore } from '../../plugins/content/store.js';
import type { Clock } from '../../plugins/metadata/expiry.js';
import { type Metadata, openMetadata } from '../../plugins/metadata/metadata.js';
import { openOverlay } from '../../plugins/snapshot-overlay/overlay.js';
import { scratch } from '../harness/scratch.js';
import { type Disk, History } from './history.js';
import { SNAPSHOTTER } from './labels.js';
import { Random } from './random.js';
import { SnapshotterInMemory, StoreInMemory } from './stores.js';

interface Plan {
  readonly steps: number;
  /** Steps between two collections. */
  readonly collectEvery: number;
  /** Steps beside every third collection. */
  readonly beside: number;
  readonly restartEvery: number;
}

interface Backends {
  readonly store: ContentStore;
  readonly snapshotter: Snapshotter;
}

/** Collections run only when asked for. */
const GC = {
  pause_threshold: 1e-6,
  deletion_threshold: 0,
  mutation_threshold: 0,
  schedule_delay: 0,
  startup_delay: 1e9,
};

const open = (directory: string, { store, snapshotter }: Backends, clock: Clock): Promise<Metadata> =>
  openMetadata({
    directory,
    settings: { content_sharing_policy: 'shared', default_snapshotter: SNAPSHOTTER, gc: GC },
    store,
    snapshotters: new Map([[SNAPSHOTTER, snapshotter]]),
    events: { publish: () => undefined, forward: () => undefined, async *subscribe() {} },
    log: pino({ level: 'silent' }),
    clock,
  });

/** Names without the sequence number: `namespace:key`. */
const plain = (key: string): string => key.replace(/^([^/]+)\/\d+\//, `$1:${SNAPSHOTTER}/`);

async function onDisk({ store, snapshotter }: Backends): Promise<Disk> {
  const blobs = (await Array.fromAsync(store.walk())).map(({ digest }) => digest);
  const snapshots = (await Array.fromAsync(snapshotter.walk())).map(({ name }) => plain(name));
  return { blobs: blobs.sort(), snapshots: snapshots.sort(), ingests: (await store.statuses()).length };
}

async function check(test: TestContext, backends: Backends, directory: string, plan: Plan): Promise<void> {
  const random = Random.fromEnvironment();
  test.diagnostic(`KEELSON_TEST_SEED=${random.seed}`);
  let metadata: Metadata | undefined;
  const subject = {
    services: () => {
      assert.ok(metadata);
      return metadata.services;
    },
    disk: () => onDisk(backends),
  };
  const history = new History(subject, random);
  metadata = await open(directory, backends, history.clock());
  try {
    for (let step = 1; step <= plan.steps; step += 1) {
      await history.step();
      if (step % plan.restartEvery === 0) {
        await metadata.close();
        metadata = await open(directory, backends, history.clock());
      }
      if (step % plan.collectEvery !== 0) continue;
      if (step % (3 * plan.collectEvery) === 0) await history.collectBeside(plan.beside);
      else await history.collectAndCompare();
    }
    await history.collectAndCompare();
  } finally {
    await metadata.close();
  }
  test.diagnostic([...history.counts].map(([kind, count]) => `${kind} ${count}`).join(', '));
}

it('keeps what can be reached and nothing else, through 100,000 random steps', async (test) => {
  // The records on a disk in memory: what is tested does not wait for flushes.
  if (existsSync('/dev/shm')) process.env.KEELSON_TEST_DIR = '/dev/shm';
  await using directory = await scratch('model');
  const backends = { store: new StoreInMemory(), snapshotter: new SnapshotterInMemory() };
  await check(test, backends, directory.path, { steps: 100_000, collectEvery: 100, beside: 15, restartEvery: 9_970 });
});

it('the same on real stores, through 1,500 steps', async (test) => {
  await using content = await scratch('content');
  await using snapshots = await scratch('snapshots');
  await using directory = await scratch('model');
  const snapshotter = await openOverlay(snapshots.path, { options: [], warn: () => undefined });
  try {
    const backends = { store: await LocalStore.open(content.path), snapshotter };
    await check(test, backends, directory.path, { steps: 1500, collectEvery: 50, beside: 15, restartEvery: 770 });
  } finally {
    await snapshotter.close();
  }
});
