/** What takes how much space, and getting it back. */
import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { hasCode } from '../../../kernel/errors.js';
import { onDaemon } from '../../connection.js';
import { flatten, manifestsOf, readImage, sizeOf } from '../image-content.js';
import { type FormatOptions, formatOption, json, printList } from '../output.js';
import { formatBytes } from '../sizes.js';

interface Totals {
  readonly blobs: number;
  /** Bytes. */
  readonly content: number;
  readonly snapshots: number;
  readonly snapshotBytes: number;
}

async function totals(client: Client, snapshotter: string): Promise<Totals> {
  let blobs = 0;
  let content = 0;
  for await (const { info } of client.content.list({})) {
    blobs += info.length;
    content += info.reduce((sum, { size }) => sum + Number(size), 0);
  }
  let snapshots = 0;
  let snapshotBytes = 0;
  for await (const { info } of client.snapshots.list({ snapshotter })) {
    for (const { name } of info) {
      snapshots++;
      snapshotBytes += (await usageOf(client, snapshotter, name)) ?? 0;
    }
  }
  return { blobs, content, snapshots, snapshotBytes };
}

/** Bytes that a snapshot takes itself; undefined when there is none. */
async function usageOf(client: Client, snapshotter: string, key: string): Promise<number | undefined> {
  try {
    return Number((await client.snapshots.usage({ snapshotter, key })).size);
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Bytes of all snapshots from the top of a chain down. */
async function chainUsage(client: Client, snapshotter: string, top: string): Promise<number> {
  let total = 0;
  for (let key = top; key !== ''; ) {
    const size = await usageOf(client, snapshotter, key);
    if (size === undefined) return total;
    total += size;
    key = (await client.snapshots.stat({ snapshotter, key })).info?.parent ?? '';
  }
  return total;
}

async function usage(client: Client, snapshotter: string, options: FormatOptions): Promise<void> {
  const { images } = await client.images.list({});
  const rows = [];
  for (const { name, target } of images) {
    const root = await readImage(client, target);
    const chains = [...new Set(manifestsOf(root).flatMap(({ chainId }) => chainId || []))];
    let unpacked = 0;
    for (const chain of chains) unpacked += await chainUsage(client, snapshotter, chain);
    rows.push({ name, content: sizeOf(root), unpacked, parts: flatten(root).length });
  }
  const total = await totals(client, snapshotter);
  if (options.format === 'json') {
    process.stdout.write(json({ images: rows, total }));
    return;
  }
  const shown = [
    ...rows.map(({ name, content, unpacked }) => ({ name, content, unpacked })),
    { name: 'TOTAL (what is shared counts once)', content: total.content, unpacked: total.snapshotBytes },
  ];
  printList(options, ['IMAGE', 'CONTENT', 'UNPACKED'], shown, ({ name, content, unpacked }) => [
    name,
    formatBytes(content),
    formatBytes(unpacked),
  ]);
}

interface PruneOptions extends FormatOptions {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly snapshotter: string;
}

/** Images that no container was made of. */
async function unusedImages(client: Client, filters: readonly string[]): Promise<readonly string[]> {
  const { containers } = await client.containers.list({});
  const used = new Set(containers.map(({ image }) => image));
  const { images } = await client.images.list({ filters });
  return images.map(({ name }) => name).filter((name) => !used.has(name));
}

/** A whole collection: deleting a lease and waiting does it on every containerd. */
async function collect(client: Client): Promise<void> {
  const { lease } = await client.leases.create({});
  await client.leases.delete({ id: lease?.id ?? '', sync: true });
}

async function prune(client: Client, filters: readonly string[], options: PruneOptions): Promise<void> {
  const names = options.all ? await unusedImages(client, filters) : [];
  if (options.dryRun) {
    process.stdout.write(
      options.format === 'json' ? json({ images: names }) : names.map((name) => `${name}\n`).join(''),
    );
    return;
  }
  const before = await totals(client, options.snapshotter);
  for (const name of names) await client.images.delete({ name });
  await collect(client);
  const after = await totals(client, options.snapshotter);
  const freed = {
    images: names,
    blobs: before.blobs - after.blobs,
    content: before.content - after.content,
    snapshots: before.snapshots - after.snapshots,
    snapshotBytes: before.snapshotBytes - after.snapshotBytes,
  };
  if (options.format === 'json') {
    process.stdout.write(json(freed));
    return;
  }
  for (const name of names) process.stdout.write(`${name}\n`);
  const { blobs, content, snapshots, snapshotBytes } = freed;
  process.stdout.write(
    `freed ${formatBytes(content)} of content (${blobs} blobs) and ${formatBytes(snapshotBytes)} in ${snapshots} snapshots\n`,
  );
}

export const addSpace = (program: Command): void => {
  const snapshotter = process.env.CONTAINERD_SNAPSHOTTER ?? 'overlayfs';
  program
    .command('usage')
    .description('show what images take, packed and unpacked')
    .option('--snapshotter <id>', 'where they are unpacked', snapshotter)
    .addOption(formatOption())
    .action((options: FormatOptions & { snapshotter: string }, command: Command) =>
      onDaemon(command, (client) => usage(client, options.snapshotter, options)),
    );
  program
    .command('prune')
    .description('collect what nothing refers to, now; with --all, images that no container was made of go first')
    .argument('[filter...]', 'with --all: only these images, such as name~=test')
    .option('-a, --all', 'remove images that no container was made of')
    .option('--dry-run', 'only show which images would be removed')
    .option('--snapshotter <id>', 'whose space is counted', snapshotter)
    .addOption(formatOption())
    .action((filters: string[], options: PruneOptions, command: Command) =>
      onDaemon(command, (client) => prune(client, filters, options)),
    );
};
