/** Layers from and to directories and snapshots, made and unpacked by the daemon. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Client, Descriptor, Mount } from '../../../client/index.js';
import { invalidArgument, notFound } from '../../../kernel/errors.js';
import { OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD } from '../../../lib/oci/media-types.js';
import { toTimestamp } from '../../../lib/rpc/timestamp.js';
import { onDaemon } from '../../connection.js';
import { collect, type FormatOptions, formatOption, json, parseLabels } from '../output.js';

const bind = (directory: string, access: 'ro' | 'rw'): Mount => ({
  type: 'bind',
  source: resolve(directory),
  target: '',
  options: ['rbind', access],
});

const COMPRESSIONS: Readonly<Record<string, string>> = {
  none: OCI_LAYER,
  gzip: OCI_LAYER_GZIP,
  zstd: OCI_LAYER_ZSTD,
};

interface DiffOptions extends FormatOptions {
  readonly compression: string;
  readonly label?: readonly string[];
  readonly ref?: string;
  readonly sourceDateEpoch?: string;
}

/** The new layer is a root of collection, as whoever asked for it has nothing else that would hold it. */
async function compare(
  client: Client,
  left: readonly Mount[],
  right: readonly Mount[],
  options: DiffOptions,
): Promise<Descriptor> {
  const mediaType = Object.hasOwn(COMPRESSIONS, options.compression) ? COMPRESSIONS[options.compression] : undefined;
  if (mediaType === undefined)
    throw invalidArgument(`compression "${options.compression}" is none of none, gzip, zstd`);
  const { sourceDateEpoch: epoch = process.env.SOURCE_DATE_EPOCH } = options;
  if (epoch !== undefined && !/^\d{1,12}$/.test(epoch)) throw invalidArgument(`"${epoch}" is no number of seconds`);
  const labels = { 'containerd.io/gc.root': new Date().toISOString(), ...parseLabels(options.label ?? []) };
  const { diff } = await client.diff.diff({
    left,
    right,
    mediaType,
    labels,
    ref: options.ref ?? `diff-${randomBytes(8).toString('hex')}`,
    ...(epoch === undefined ? {} : { sourceDateEpoch: toTimestamp(BigInt(epoch) * 1_000_000_000n) }),
  });
  if (!diff) throw notFound('the daemon made no layer');
  return diff;
}

function print({ mediaType, digest, size }: Descriptor, { format }: FormatOptions): void {
  process.stdout.write(format === 'json' ? json({ mediaType, digest, size }) : `${digest}\n`);
}

/** What a snapshot changes on top of its parent. Views made for it are removed again. */
async function diffSnapshot(client: Client, key: string, snapshotter: string, options: DiffOptions): Promise<void> {
  const { info } = await client.snapshots.stat({ snapshotter, key });
  const { lease } = await client.leases.create({});
  const id = lease?.id ?? '';
  const views: string[] = [];
  const view = async (parent: string): Promise<Mount[]> => {
    if (parent === '') return [];
    const name = `diff-${randomBytes(8).toString('hex')}`;
    const { mounts } = await client.snapshots.view({ snapshotter, key: name, parent }, { lease: id });
    views.push(name);
    return mounts;
  };
  try {
    const right =
      info?.kind === COMMITTED ? await view(key) : (await client.snapshots.mounts({ snapshotter, key })).mounts;
    print(await compare(client, await view(info?.parent ?? ''), right, options), options);
  } finally {
    for (const name of views) await client.snapshots.remove({ snapshotter, key: name });
    await client.leases.delete({ id });
  }
}

/** containerd.services.snapshots.v1.Kind. */
const COMMITTED = 3;

const withDiffOptions = (command: Command): Command =>
  command
    .option('--compression <kind>', 'none, gzip or zstd', 'gzip')
    .option('--label <key=value>', 'label of the layer; may be repeated', collect)
    .option('--ref <name>', 'name of the ingest while it is written')
    .option('--source-date-epoch <seconds>', 'no time in the layer is later (SOURCE_DATE_EPOCH)')
    .addOption(formatOption());

export const addLayers = (program: Command): void => {
  program
    .command('apply')
    .description("unpack a layer into a directory of the daemon's machine; prints the digest of the uncompressed layer")
    .argument('<directory>')
    .argument('<digest>', 'of the layer, as content; compressed or not')
    .option('--media-type <type>', 'what the layer is', OCI_LAYER_GZIP)
    .addOption(formatOption())
    .action((directory: string, digest: string, options: FormatOptions & { mediaType: string }, command: Command) =>
      onDaemon(command, async (client) => {
        const { info } = await client.content.info({ digest });
        const diff = { digest, size: info?.size ?? 0n, mediaType: options.mediaType };
        const { applied } = await client.diff.apply({ diff, mounts: [bind(directory, 'rw')] });
        if (applied) print(applied, options);
      }),
    );
  withDiffOptions(program.command('diff'))
    .description("make a layer of what a directory of the daemon's machine has and another has not; prints its digest")
    .argument('<lower>')
    .argument('<upper>')
    .action((lower: string, upper: string, options: DiffOptions, command: Command) =>
      onDaemon(command, async (client) =>
        print(await compare(client, [bind(lower, 'ro')], [bind(upper, 'ro')], options), options),
      ),
    );
};

/** `dist rootfs diff`. */
export const addSnapshotDiff = (rootfs: Command, snapshotter: string): void => {
  withDiffOptions(rootfs.command('diff'))
    .description('make a layer of what a root filesystem changes on top of what it stands on; prints its digest')
    .argument('<key>')
    .option('--snapshotter <id>', 'who keeps it', snapshotter)
    .action((key: string, options: DiffOptions & { snapshotter: string }, command: Command) =>
      onDaemon(command, (client) => diffSnapshot(client, key, options.snapshotter, options)),
    );
};
