/**
 * keelsond itself, killed (SIGKILL) at random instants of what Debian's `ctr` has it do: pull, import and push. The next
 * daemon has everything that was acknowledged, whole; the same command succeeds; one collection leaves nothing else.
 * The seed is printed: KEELSON_CRASH_SEED repeats the order of things, KEELSON_CRASH_ROUNDS says how many.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, connect } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { Ctr } from '../harness/ctr.js';
import { Daemon } from '../harness/daemon.js';
import { ScriptedRegistry } from '../hostile/registry.js';
import { randomSource } from './random.js';
import { plannedImages } from './store-images.js';
import { type PlannedImage, SNAPSHOTTER } from './store-plan.js';

const ROUNDS = Number(process.env.KEELSON_CRASH_ROUNDS ?? 12);
const SEED = Number(process.env.KEELSON_CRASH_SEED ?? Date.now() % 1_000_000);
const DEEDS = ['pull', 'import', 'push'] as const;
type Deed = (typeof DEEDS)[number];

/** Milliseconds that each usually takes, measured as it goes, so that kills fall anywhere in it. */
const usual: Record<Deed, number> = { pull: 400, import: 300, push: 300 };

let registry: ScriptedRegistry;
let daemon: Daemon;
let ctr: Ctr;
/** Pulled before the first kill, and never touched. */
let held: PlannedImage;
/** What the killed commands are about. */
let image: PlannedImage;
let archive: string;

const random = randomSource(SEED);

/** With a connection of its own: one that failed waits before it tries again. */
async function withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
  using client = connect({ address: daemon.address, namespace: ctr.namespace });
  return await work(client);
}

const pull = ({ reference }: PlannedImage): string[] => ['images', 'pull', '--plain-http', reference];

before(async () => {
  registry = await ScriptedRegistry.start();
  const [first, second] = plannedImages(registry, random);
  assert.ok(first && second);
  [held, image] = [first, second];
  daemon = await Daemon.start({ kind: 'keelsond' });
  ctr = daemon.ctr(`killed-daemon-${process.pid}`);
  archive = join(daemon.directory, 'image.tar');
  for (const each of [held, image]) await ctr.ok(...pull(each));
  await ctr.ok('images', 'export', archive, image.reference);
  await nothingBut([held]);
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

const command = (deed: Deed, round: number): string[] => {
  if (deed === 'pull') return pull(image);
  if (deed === 'import') return ['images', 'import', archive];
  return ['images', 'push', '--plain-http', `${registry.host}/pushed/app:r${round}`, image.reference];
};

async function exists(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

/** Everything that was acknowledged is there. */
async function isThere(client: Client, { reference, chain }: PlannedImage): Promise<void> {
  assert.ok(await exists(client.images.get({ name: reference })), `${reference} was acknowledged`);
  const top = client.snapshots.stat({ snapshotter: SNAPSHOTTER, key: chain.at(-1) ?? '' });
  assert.ok(await exists(top), `that ${reference} is unpacked was acknowledged`);
}

/** What is there of an image is whole, bit by bit: its content with its record, its files with the topmost snapshot. */
async function isWhole(client: Client, { reference, digests, chain, files }: PlannedImage): Promise<void> {
  if (!(await exists(client.images.get({ name: reference })))) return;
  for (const digest of digests) {
    const chunks: Uint8Array[] = [];
    for await (const { data } of client.content.read({ digest })) chunks.push(data);
    assert.equal(digestOf(Buffer.concat(chunks)), digest, `content of ${reference}`);
  }
  const key = chain.at(-1) ?? '';
  // The client makes the record first, and unpacks then.
  if (!(await exists(client.snapshots.stat({ snapshotter: SNAPSHOTTER, key })))) return;
  assert.deepEqual(await digestsOfFiles(client, key), files, `files of ${reference}`);
}

/** Looked at without mounting: a kill would leave the mount. */
async function digestsOfFiles(client: Client, chainId: string): Promise<Record<string, string>> {
  // No collection of the daemon that has just begun takes it.
  const labels = { 'containerd.io/gc.root': '1' };
  const view = { snapshotter: SNAPSHOTTER, key: 'look', parent: chainId, labels };
  const { mounts } = await client.snapshots.view(view);
  const lowers = mounts.flatMap(({ options }) => options).find((option) => option.startsWith('lowerdir='));
  const found: Record<string, string> = {};
  // From the bottom up: what is above replaces what is below.
  for (const lower of (lowers ?? '').slice('lowerdir='.length).split(':').reverse())
    for (const name of await readdir(lower)) found[name] = digestOf(await readFile(join(lower, name)));
  await client.snapshots.remove({ snapshotter: SNAPSHOTTER, key: 'look' });
  return found;
}

/** Forgets what the killed client held, and collects once: what is left then is those images, on record and on disk. */
async function nothingBut(images: readonly PlannedImage[]): Promise<void> {
  await withClient(async (client) => {
    const kept = new Set(images.map(({ reference }) => reference));
    for (const { name } of (await client.images.list({})).images)
      if (!kept.has(name)) await client.images.delete({ name });
    for (const { id } of (await client.leases.list({})).leases) await client.leases.delete({ id });
    const { lease } = await client.leases.create({});
    await client.leases.delete({ id: lease?.id ?? '', sync: true });
    const digests: string[] = [];
    for await (const { info } of client.content.list({})) digests.push(...info.map(({ digest }) => digest));
    const names: string[] = [];
    for await (const { info } of client.snapshots.list({ snapshotter: SNAPSHOTTER }))
      names.push(...info.map(({ name }) => name));
    assert.deepEqual(digests.sort(), images.flatMap((each) => each.digests).sort(), 'recorded content');
    assert.deepEqual(names.sort(), images.flatMap((each) => each.chain).sort(), 'recorded snapshots');
    assert.deepEqual((await client.content.listStatuses({})).statuses, [], 'ingests');
  });
  const content = join(daemon.root, 'io.containerd.content.v1.content');
  const blobs = await readdir(join(content, 'blobs', 'sha256'));
  assert.deepEqual(blobs.map((name) => `sha256:${name}`).sort(), images.flatMap((each) => each.digests).sort());
  assert.deepEqual(await readdir(join(content, 'ingest')), [], 'ingests on disk');
  const snapshots = await readdir(join(daemon.root, `io.containerd.snapshotter.v1.${SNAPSHOTTER}`, 'snapshots'));
  assert.equal(snapshots.length, images.flatMap((each) => each.chain).length, `snapshots on disk: ${snapshots}`);
}

/** Begins, is killed, begins again; resolves to whether the kill came before the end. */
async function round(deed: Deed, number: number): Promise<boolean> {
  if (deed === 'push') await ctr.ok(...pull(image));
  const running = ctr.start(...command(deed, number));
  await pause(random() * usual[deed]);
  await daemon.kill();
  const acknowledged = (await running.stop('SIGKILL')).code === 0;
  await daemon.start();
  await withClient(async (client) => {
    const known = acknowledged || deed === 'push' ? [held, image] : [held];
    for (const each of known) await isThere(client, each);
    for (const each of [held, image]) await isWhole(client, each);
  });
  const begun = performance.now();
  await ctr.ok(...command(deed, number));
  usual[deed] = 0.5 * usual[deed] + 0.5 * (performance.now() - begun);
  await withClient(async (client) => {
    await isThere(client, image);
    await isWhole(client, image);
  });
  if (deed === 'push') {
    const pushed = await fetch(`${registry.url}/v2/pushed/app/manifests/r${number}`);
    assert.equal(digestOf(Buffer.from(await pushed.arrayBuffer())), image.digests[0]);
  }
  await nothingBut([held]);
  return !acknowledged;
}

it(`a daemon killed in ${ROUNDS} pulls, imports and pushes loses nothing and leaves nothing`, async (test) => {
  test.diagnostic(`KEELSON_CRASH_SEED=${SEED}`);
  const interrupted = new Map<Deed, number>();
  for (let number = 0; number < ROUNDS; number += 1) {
    const deed = DEEDS[number % DEEDS.length] ?? 'pull';
    const cut = await round(deed, number).catch((cause: unknown) => {
      throw new Error(`round ${number}, ${deed}: ${cause}`, { cause });
    });
    if (cut) interrupted.set(deed, (interrupted.get(deed) ?? 0) + 1);
  }
  test.diagnostic(`killed in the middle of: ${[...interrupted].map(([deed, count]) => `${deed} ${count}`).join(', ')}`);
});
