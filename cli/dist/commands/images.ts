import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { alreadyExists, hasCode, notFound } from '../../../kernel/errors.js';
import { onDaemon } from '../../connection.js';
import { flatten, manifestsOf, platformsOf, readImage, sizeOf } from '../image-content.js';
import { toIso, toMillis } from '../moments.js';
import { type FormatOptions, formatOption, json, parseLabels, printList } from '../output.js';
import { formatAge, formatBytes } from '../sizes.js';
import { drawTree } from '../tree.js';
import { addArchives } from './archive.js';
import { addPull } from './pull.js';
import { addPush } from './push.js';

interface ListOptions extends FormatOptions {
  readonly quiet?: boolean;
}

async function list(client: Client, filters: readonly string[], options: ListOptions): Promise<void> {
  const { images } = await client.images.list({ filters });
  if (options.quiet) {
    for (const { name } of images) process.stdout.write(`${name}\n`);
    return;
  }
  const described = await Promise.all(
    images.map(async ({ name, target, labels, createdAt, updatedAt }) => {
      const root = await readImage(client, target);
      return {
        name,
        mediaType: target?.mediaType ?? '',
        digest: target?.digest ?? '',
        size: sizeOf(root),
        platforms: platformsOf(root),
        labels,
        createdAt: toIso(createdAt),
        updatedAt: toIso(updatedAt),
      };
    }),
  );
  printList(options, ['NAME', 'DIGEST', 'SIZE', 'PLATFORMS', 'AGE'], described, (image) => [
    image.name,
    image.digest,
    formatBytes(image.size),
    image.platforms.join(',') || '-',
    formatAge(Date.parse(image.updatedAt), Date.now()),
  ]);
}

/** Removes all that are there; NOT_FOUND afterwards, naming those that were not. */
async function remove(client: Client, names: readonly string[], sync: boolean): Promise<void> {
  const missing: string[] = [];
  for (const [index, name] of names.entries()) {
    try {
      // A collection takes all of them; the last one can wait for it.
      await client.images.delete({ name, sync: sync && index === names.length - 1 });
      process.stdout.write(`${name}\n`);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      missing.push(`"${name}"`);
    }
  }
  if (missing.length > 0) throw notFound(`no image of the name ${missing.join(', ')}`);
}

async function tag(client: Client, source: string, names: readonly string[], force: boolean): Promise<void> {
  const { image } = await client.images.get({ name: source });
  for (const name of names) {
    const tagged = { name, ...(image?.target ? { target: image.target } : {}) };
    try {
      await client.images.create({ image: tagged });
    } catch (error) {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      if (!force) throw alreadyExists(`an image of the name "${name}" exists`, { remedy: 'use --force to replace it' });
      await client.images.update({ image: tagged, updateMask: ['target'] });
    }
    process.stdout.write(`${name}\n`);
  }
}

async function check(
  client: Client,
  filters: readonly string[],
  snapshotter: string,
  options: ListOptions,
): Promise<void> {
  const { images } = await client.images.list({ filters });
  const checked = await Promise.all(
    images.map(async ({ name, target }) => {
      const root = await readImage(client, target);
      const wanted = new Set(manifestsOf(root).flatMap((manifest) => flatten(manifest)));
      const parts = [...wanted];
      const present = parts.filter((part) => part.present).length;
      const chains = manifestsOf(root).flatMap(({ chainId }) => chainId || []);
      const complete = parts.length > 0 && present === parts.length;
      const unpacked = await Promise.all(chains.map((chain) => isSnapshot(client, snapshotter, chain)));
      return { name, complete, present, parts: parts.length, unpacked: unpacked.some((is) => is) };
    }),
  );
  if (options.quiet) {
    for (const { name, complete } of checked) if (complete) process.stdout.write(`${name}\n`);
    return;
  }
  printList(options, ['NAME', 'STATUS', 'UNPACKED'], checked, (image) => [
    image.name,
    `${image.complete ? 'complete' : 'incomplete'} (${image.present}/${image.parts})`,
    String(image.unpacked),
  ]);
}

async function isSnapshot(client: Client, snapshotter: string, key: string): Promise<boolean> {
  try {
    await client.snapshots.stat({ snapshotter, key });
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

async function inspect(client: Client, name: string, options: FormatOptions): Promise<void> {
  const { image } = await client.images.get({ name });
  const root = await readImage(client, image?.target);
  if (options.format === 'json') {
    process.stdout.write(json({ name, labels: image?.labels ?? {}, target: root }));
    return;
  }
  process.stdout.write(`${name}, ${formatAge(toMillis(image?.updatedAt), Date.now())}\n${drawTree(root)}`);
}

export const addImages = (program: Command): void => {
  const images = program.command('images').alias('image').alias('i').description('names of images');
  for (const add of [addPull, addPush, addArchives]) add(images);
  images
    .command('ls', { isDefault: true })
    .alias('list')
    .description('list the images of the namespace')
    .argument('[filter...]', 'such as name~=redis')
    .option('-q, --quiet', 'names only')
    .addOption(formatOption())
    .action((filters: string[], options: ListOptions, command: Command) =>
      onDaemon(command, (client) => list(client, filters, options)),
    );
  images
    .command('rm')
    .aliases(['remove', 'delete', 'del'])
    .description('remove images; what nothing else refers to is collected')
    .argument('<name...>')
    .option('--sync', 'wait until everything is collected')
    .action((names: string[], { sync = false }: { sync?: boolean }, command: Command) =>
      onDaemon(command, (client) => remove(client, names, sync)),
    );
  images
    .command('tag')
    .description('give an image further names')
    .argument('<source>')
    .argument('<name...>')
    .option('--force', 'replace images of those names')
    .action((source: string, names: string[], { force = false }: { force?: boolean }, command: Command) =>
      onDaemon(command, (client) => tag(client, source, names, force)),
    );
  images
    .command('label')
    .description('set labels of an image; an empty value removes one')
    .argument('<name>')
    .argument('<key=value...>')
    .action((name: string, pairs: string[], _options: object, command: Command) =>
      onDaemon(command, async (client) => {
        const labels = parseLabels(pairs);
        const updateMask = Object.keys(labels).map((key) => `labels.${key}`);
        await client.images.update({ image: { name, labels }, updateMask });
      }),
    );
  images
    .command('check')
    .description('show whether all of an image is here and unpacked')
    .argument('[filter...]')
    .option('-q, --quiet', 'names of complete images only')
    .option('--snapshotter <id>', 'where it should be unpacked', process.env.CONTAINERD_SNAPSHOTTER ?? 'overlayfs')
    .addOption(formatOption())
    .action((filters: string[], options: ListOptions & { snapshotter: string }, command: Command) =>
      onDaemon(command, (client) => check(client, filters, options.snapshotter, options)),
    );
  images
    .command('inspect')
    .description('show what an image is made of')
    .argument('<name>')
    .addOption(formatOption())
    .action((name: string, options: FormatOptions, command: Command) =>
      onDaemon(command, (client) => inspect(client, name, options)),
    );
};
