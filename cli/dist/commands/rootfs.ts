import type { Command } from 'commander';
import type { Client, Mount } from '../../../client/index.js';
import { invalidArgument } from '../../../kernel/errors.js';
import { hostPlatform, parsePlatform } from '../../../lib/oci/platform.js';
import { onDaemon } from '../../connection.js';
import { findImage } from '../../ctr/image.js';
import { ensureUnpacked } from '../../ctr/unpack.js';
import { type FormatOptions, formatOption, json } from '../output.js';
import { addSnapshotDiff } from './layers.js';

interface RootfsOptions extends FormatOptions {
  readonly snapshotter: string;
  readonly target: string;
}

/** A word of a shell, quoted where it must be. */
const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** Commands that perform the mounts below `directory`, for a shell to run. */
function mountCommands(mounts: readonly Mount[], directory: string): string {
  return mounts
    .map(({ type, source, target, options }) => {
      const at = target === '' ? directory : `${directory}/${target}`;
      const flags = options.length > 0 ? ['-o', options.join(',')] : [];
      return `${['mount', '-t', type, source, at, ...flags].map(quoted).join(' ')}\n`;
    })
    .join('');
}

const print = (mounts: readonly Mount[], { format, target }: RootfsOptions): void => {
  process.stdout.write(format === 'json' ? json(mounts) : mountCommands(mounts, target));
};

async function unpack(client: Client, name: string, snapshotter: string, platform: string | undefined): Promise<void> {
  const image = await findImage(client, name, platform === undefined ? hostPlatform() : parsePlatform(platform));
  if (image.chainId === undefined) throw invalidArgument(`image "${name}" has no layers`);
  const { lease } = await client.leases.create({});
  const id = lease?.id ?? '';
  try {
    await ensureUnpacked(client, image, snapshotter, id);
  } finally {
    await client.leases.delete({ id });
  }
  process.stdout.write(`${image.chainId}\n`);
}

export const addRootfs = (program: Command): void => {
  const rootfs = program.command('rootfs').description('root filesystems, made of layers');
  const snapshotter = process.env.CONTAINERD_SNAPSHOTTER ?? 'overlayfs';
  const addMountOptions = (command: Command): Command =>
    command
      .option('--snapshotter <id>', 'who keeps it', snapshotter)
      .option('--target <path>', 'where to mount it, in the commands printed', '/mnt')
      .addOption(formatOption());
  rootfs
    .command('unpack')
    .description("unpack an image's layers; prints the chain ID of the topmost")
    .argument('<image>')
    .option('--snapshotter <id>', 'where to unpack', snapshotter)
    .option('--platform <platform>', 'such as linux/arm64')
    .action((name: string, options: { snapshotter: string; platform?: string }, command: Command) =>
      onDaemon(command, (client) => unpack(client, name, options.snapshotter, options.platform)),
    );
  addMountOptions(rootfs.command('prepare'))
    .description('make a root filesystem on top of a chain of layers; prints how to mount it')
    .argument('<key>', 'a name for it')
    .argument('[chain-id]', 'what it stands on; nothing by default')
    .option('--readonly', 'for reading only')
    .action(
      (key: string, parent: string | undefined, options: RootfsOptions & { readonly?: boolean }, command: Command) =>
        onDaemon(command, async (client) => {
          const request = { snapshotter: options.snapshotter, key, parent: parent ?? '' };
          const labels = { 'containerd.io/gc.root': new Date().toISOString() };
          const made = options.readonly
            ? await client.snapshots.view({ ...request, labels })
            : await client.snapshots.prepare({ ...request, labels });
          print(made.mounts, options);
        }),
    );
  addMountOptions(rootfs.command('mounts'))
    .description('print how to mount a root filesystem')
    .argument('<key>')
    .action((key: string, options: RootfsOptions, command: Command) =>
      onDaemon(command, async (client) => {
        const { mounts } = await client.snapshots.mounts({ snapshotter: options.snapshotter, key });
        print(mounts, options);
      }),
    );
  addSnapshotDiff(rootfs, snapshotter);
  rootfs
    .command('rm')
    .description('remove a root filesystem')
    .argument('<key...>')
    .option('--snapshotter <id>', 'who keeps it', snapshotter)
    .action((keys: string[], options: { snapshotter: string }, command: Command) =>
      onDaemon(command, async (client) => {
        for (const key of keys) await client.snapshots.remove({ snapshotter: options.snapshotter, key });
      }),
    );
};
