/** A collection over a large store on both daemons, and how long writers and readers have to wait meanwhile. */
import { rm } from 'node:fs/promises';
import { succeed } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import type { CollectionFigures } from './gc-client.js';
import { Filler, LAYERS, SNAPSHOTS } from './gc-store.js';
import { coldCaches } from './loop-disk.js';
import type { Comparison } from './statistics.js';

const CLIENT = new URL('gc-client.js', import.meta.url).pathname;

/** With ten blobs each: 100,000. */
const IMAGES = Number(process.env.KEELSON_BENCH_IMAGES ?? 10_000);

/** Nothing is collected but when asked for, so that the store can be filled. */
const configOf = (kind: DaemonKind): string => {
  const section = kind === 'keelsond' ? 'metadata.config.gc' : '"io.containerd.gc.v1.scheduler"';
  return `[plugins.${section}]\nmutation_threshold = 0\nstartup_delay = "10h"\n`;
};

interface Figures {
  readonly fill: number;
  readonly idle: CollectionFigures;
  /** All of it is used. */
  readonly used: CollectionFigures;
  /** Half of it is not. */
  readonly half: CollectionFigures;
}

/** Filling is not what is measured: it happens in memory, and the result is copied to the disk. */
async function fill(daemon: Daemon): Promise<number> {
  await daemon.stop();
  const disk = process.env.KEELSON_TEST_DIR;
  process.env.KEELSON_TEST_DIR = '/dev/shm';
  const start = performance.now();
  try {
    await using filled = await Daemon.start({ kind: daemon.kind, config: configOf(daemon.kind) });
    using filler = new Filler(filled.address);
    await filler.fill(IMAGES);
    await filled.stop();
    await rm(daemon.root, { recursive: true });
    await succeed('cp', ['-a', filled.root, daemon.root], { timeout: 600_000 });
  } finally {
    process.env.KEELSON_TEST_DIR = disk;
  }
  await coldCaches();
  await daemon.start();
  return performance.now() - start;
}

async function figuresOf(kind: DaemonKind): Promise<Figures> {
  await using daemon = await Daemon.start({ kind, config: configOf(kind) });
  const filling = await fill(daemon);
  const client = async (...args: readonly string[]): Promise<CollectionFigures> => {
    const printed = await succeed(process.execPath, [CLIENT, daemon.address, `image-${IMAGES - 1}`, ...args], {
      timeout: 600_000,
    });
    return JSON.parse(printed);
  };
  using filler = new Filler(daemon.address);
  const idle = await client('3000');
  const used = await client();
  await filler.forget(IMAGES / 2);
  return { fill: filling, idle, used, half: await client() };
}

export async function benchGc(): Promise<Comparison[]> {
  const ours = await figuresOf('keelsond');
  const peer = await figuresOf('containerd');
  const blobs = IMAGES * (LAYERS + 1);
  const compare = (what: string, unit: string, value: (figures: Figures) => number): Comparison => ({
    what: `${blobs} blobs, ${IMAGES * SNAPSHOTS} snapshots: ${what}`,
    unit,
    ours: [value(ours)],
    peer: [value(peer)],
  });
  return [
    compare('filling the store and copying it', 's', ({ fill }) => fill / 1000),
    compare('write, longest of 3 s without a collection', 'ms', ({ idle }) => idle.longestWrite),
    compare('collection, all in use', 's', ({ used }) => used.duration / 1000),
    compare('collection, all in use: longest write', 'ms', ({ used }) => used.longestWrite),
    compare('collection, all in use: longest read', 'ms', ({ used }) => used.longestRead),
    compare('collection, half garbage', 's', ({ half }) => half.duration / 1000),
    compare('collection, half garbage: longest write', 'ms', ({ half }) => half.longestWrite),
    compare('collection, half garbage: median write', 'ms', ({ half }) => half.medianWrite),
    compare('collection, half garbage: longest read', 'ms', ({ half }) => half.longestRead),
  ];
}
