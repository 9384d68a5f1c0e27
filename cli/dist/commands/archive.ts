import { open, rename, rm } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Client, exportImages, importImages } from '../../../client/index.js';
import { formatPlatform, hostPlatform, parsePlatform } from '../../../lib/oci/platform.js';
import { onDaemon } from '../../connection.js';
import { interruptible } from '../interrupt.js';
import { collect, type FormatOptions, formatOption, json, parseLabels } from '../output.js';
import { displayFor, shown } from '../progress/display.js';

interface ImportCommandOptions extends FormatOptions {
  readonly baseName?: string;
  readonly digests?: boolean;
  readonly indexName?: string;
  readonly platform?: readonly string[];
  readonly allPlatforms?: boolean;
  readonly unpack: boolean;
  readonly snapshotter: string;
  readonly compress?: boolean;
  readonly label?: readonly string[];
  readonly quiet?: boolean;
}

/** Names that say when, for what has none of its own. */
const today = (): string => `import-${new Date().toISOString().slice(0, 10)}`;

/** Opened before anything else happens, so that a file that is not there is said so. */
async function openArchive(file: string): Promise<AsyncIterable<Uint8Array>> {
  if (file === '-') return process.stdin;
  const handle = await open(file, 'r');
  return handle.createReadStream({ highWaterMark: 1 << 20 });
}

async function importFile(client: Client, file: string, options: ImportCommandOptions): Promise<void> {
  const { baseName, digests = false, indexName = '' } = options;
  const platforms = options.platform?.map(parsePlatform) ?? [hostPlatform()];
  const archive = await openArchive(file);
  const display = displayFor(options, file);
  const saved: string[] = [];
  const name = {
    name: baseName ?? today(),
    isPrefix: true,
    allowOverwrite: baseName === undefined,
    addDigest: digests,
    skipNamedDigest: false,
  };
  await shown(display, () =>
    interruptible((signal) =>
      importImages(client, {
        archive,
        name: indexName,
        names: [name],
        labels: parseLabels(options.label ?? []),
        platforms: options.allPlatforms ? [] : platforms,
        unpack: options.unpack ? platforms.map((platform) => ({ platform, snapshotter: options.snapshotter })) : [],
        compress: options.compress ?? false,
        signal,
        onProgress(progress) {
          if (progress.event === 'saved') saved.push(progress.name);
          display.update(progress);
        },
      }),
    ),
  );
  const result = { images: saved, platforms: platforms.map(formatPlatform) };
  process.stdout.write(options.format === 'json' ? json(result) : saved.map((image) => `${image}\n`).join(''));
  if (saved.length === 0) process.stderr.write('dist: nothing in the archive has a name that counts; try --digests\n');
}

interface ExportCommandOptions {
  readonly platform?: readonly string[];
  readonly allPlatforms?: boolean;
  readonly skipManifestJson?: boolean;
}

/** Standard output, or a file that appears under its name when it is whole. */
async function exportFile(client: Client, file: string, names: readonly string[], options: ExportCommandOptions) {
  const request = {
    names,
    platforms: options.platform?.map(parsePlatform) ?? [],
    allPlatforms: options.allPlatforms ?? false,
    skipDockerManifest: options.skipManifestJson ?? false,
  };
  if (file === '-') {
    const write = (bytes: Uint8Array): Promise<void> =>
      new Promise((resolve, reject) => {
        process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
    await interruptible((signal) => exportImages(client, { ...request, write, signal }));
    return;
  }
  const part = `${file}.part`;
  const target = await open(part, 'w');
  try {
    const write = async (bytes: Uint8Array): Promise<void> => {
      await target.writeFile(bytes);
    };
    await interruptible((signal) => exportImages(client, { ...request, write, signal }));
    await target.close();
    await rename(part, file);
  } catch (error) {
    await target.close();
    await rm(part, { force: true });
    throw error;
  }
}

export const addArchives = (parent: Command): void => {
  parent
    .command('import')
    .description('take in images from an OCI or Docker archive, compressed or not')
    .argument('<file>', 'the archive, or - for standard input')
    .option('--base-name <name>', 'only what begins with it, or has a tag alone (default: every name counts)')
    .option('--digests', 'also name images by their digest')
    .option('--index-name <name>', 'name the whole archive, too')
    .option('--platform <platform>', 'such as linux/arm64; may be repeated (default: this machine)', collect)
    .option('--all-platforms', 'the archive must hold every platform')
    .option('--compress', 'compress the layers of a Docker archive')
    .option('--label <key=value>', 'label of the images; may be repeated', collect)
    .option('--no-unpack', 'leave the layers packed')
    .option('--snapshotter <id>', 'where to unpack', process.env.CONTAINERD_SNAPSHOTTER ?? '')
    .option('-q, --quiet', 'print the names only')
    .addOption(formatOption())
    .action((file: string, options: ImportCommandOptions, command: Command) =>
      onDaemon(command, (client) => importFile(client, file, options)),
    );
  parent
    .command('export')
    .description('write images as an archive, for OCI tools and for Docker')
    .argument('<file>', 'the archive, or - for standard output')
    .argument('<image...>', 'names, as stored')
    .option('--platform <platform>', 'such as linux/arm64; may be repeated (default: this machine)', collect)
    .option('--all-platforms', 'every platform of the images')
    .option('--skip-manifest-json', 'leave out what only Docker needs')
    .action((file: string, names: string[], options: ExportCommandOptions, command: Command) =>
      onDaemon(command, (client) => exportFile(client, file, names, options)),
    );
};
