/** What every end-to-end test file stands on: one daemon, one registry with real images, both gone at the end. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after } from 'node:test';
import {
  type Ctr,
  Daemon,
  type DaemonOptions,
  eventually,
  type ImageName,
  imageLayout,
  startRegistry,
} from '../harness/index.js';

/** Every test of images and containers runs once on each. */
export const SNAPSHOTTERS = ['overlayfs', 'native'] as const;
export type Snapshotter = (typeof SNAPSHOTTERS)[number];

export interface World {
  readonly daemon: Daemon;
  /** `127.0.0.1:PORT` of the registry. */
  readonly host: string;
  /** References of the images, by name. */
  readonly image: Readonly<Record<ImageName, string>>;
  /** A namespace that no other run on this machine uses: containers' cgroups are named after it. */
  own(name: string): string;
  /** Debian's `ctr` in that namespace, with the named images pulled. */
  pulled(namespace: string, snapshotter: Snapshotter, ...images: readonly ImageName[]): Promise<Ctr>;
}

/** Starts a world for the test file that calls it, with the named images in the registry. */
export async function startWorld(images: readonly ImageName[], options: DaemonOptions = {}): Promise<World> {
  const registry = await startRegistry();
  after(() => registry[Symbol.asyncDispose]());
  const image = { busybox: '', layered: '', node: '', debian: '' };
  for (const name of images) image[name] = await registry.push(await imageLayout(name), `test/${name}`);
  const daemon = await Daemon.start(options);
  after(() => daemon[Symbol.asyncDispose]());
  return {
    daemon,
    host: registry.host,
    image,
    own: (name) => `e2e-${name}-${process.pid}`,
    async pulled(namespace, snapshotter, ...names) {
      const ctr = daemon.ctr(namespace);
      for (const name of names)
        await ctr.ok('images', 'pull', '--plain-http', '--snapshotter', snapshotter, image[name]);
      return ctr;
    },
  };
}

/**
 * Puts a blob into content and labels it as a root of collection, again when a
 * collection was quicker than the label; resolves to its digest.
 */
export async function ingest(ctr: Ctr, ref: string, data: string | Uint8Array): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
  return eventually(`blob "${ref}" is held`, async () => {
    const { code, stderr } = await ctr.run(['content', 'ingest', '--expected-digest', digest, ref], { input: data });
    assert.equal(code, 0, stderr);
    const held = await ctr.run(['content', 'label', digest, 'containerd.io/gc.root=test']);
    return held.code === 0 ? digest : undefined;
  });
}

/** Makes a view and labels it as a root of collection, which `ctr snapshots view` alone does not, again if need be. */
export async function view(ctr: Ctr, snapshotter: Snapshotter, key: string, parent: string): Promise<void> {
  const command = ['snapshots', '--snapshotter', snapshotter];
  await eventually(`view "${key}" is held`, async () => {
    await ctr.ok(...command, 'view', key, parent);
    const held = await ctr.run([...command, 'label', key, 'containerd.io/gc.root=test']);
    return held.code === 0 ? true : undefined;
  });
}
