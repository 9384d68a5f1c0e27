import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { hasCode, notFound } from '../../../kernel/errors.js';
import { onDaemon } from '../../connection.js';
import { ingest, parseExpectation } from '../ingest.js';
import { toIso } from '../moments.js';
import { type FormatOptions, formatOption, parseLabels, printList } from '../output.js';
import { formatAge, formatBytes } from '../sizes.js';
import { addFetch } from './pull.js';

interface ListOptions extends FormatOptions {
  readonly quiet?: boolean;
}

async function list(client: Client, filters: readonly string[], options: ListOptions): Promise<void> {
  const blobs = [];
  for await (const { info } of client.content.list({ filters })) {
    for (const { digest, size, labels, createdAt, updatedAt } of info) {
      if (options.quiet) process.stdout.write(`${digest}\n`);
      else blobs.push({ digest, size, labels, createdAt: toIso(createdAt), updatedAt: toIso(updatedAt) });
    }
  }
  if (options.quiet) return;
  printList(options, ['DIGEST', 'SIZE', 'AGE', 'LABELS'], blobs, ({ digest, size, createdAt, labels }) => [
    digest,
    formatBytes(Number(size)),
    formatAge(Date.parse(createdAt), Date.now()),
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(',') || '-',
  ]);
}

async function get(client: Client, digest: string, file: string | undefined): Promise<void> {
  async function* data(): AsyncIterable<Uint8Array> {
    for await (const chunk of client.content.read({ digest })) yield chunk.data;
  }
  const target = file === undefined ? process.stdout : createWriteStream(file);
  await pipeline(Readable.from(data()), target, { end: file !== undefined });
}

async function remove(client: Client, digests: readonly string[]): Promise<void> {
  const missing: string[] = [];
  for (const digest of digests) {
    try {
      await client.content.delete({ digest });
      process.stdout.write(`${digest}\n`);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      missing.push(`"${digest}"`);
    }
  }
  if (missing.length > 0) throw notFound(`no content ${missing.join(', ')}`);
}

async function active(client: Client, filters: readonly string[], options: FormatOptions): Promise<void> {
  const { statuses } = await client.content.listStatuses({ filters });
  const ingests = statuses.map(({ ref, offset, total, expected, startedAt, updatedAt }) => ({
    ref,
    offset,
    total,
    expected,
    startedAt: toIso(startedAt),
    updatedAt: toIso(updatedAt),
  }));
  printList(options, ['REF', 'BYTES', 'OF', 'STARTED', 'UPDATED'], ingests, (status) => [
    status.ref,
    formatBytes(Number(status.offset)),
    status.total > 0n ? formatBytes(Number(status.total)) : '-',
    formatAge(Date.parse(status.startedAt), Date.now()),
    formatAge(Date.parse(status.updatedAt), Date.now()),
  ]);
}

/** The verbs for content, below `dist content` and, as long ago, below `dist` itself. */
export const addContentVerbs = (parent: Command): void => {
  addFetch(parent);
  parent
    .command('list')
    .alias('ls')
    .description('list content')
    .argument('[filter...]', 'such as labels."containerd.io/uncompressed"')
    .option('-q, --quiet', 'digests only')
    .addOption(formatOption())
    .action((filters: string[], options: ListOptions, command: Command) =>
      onDaemon(command, (client) => list(client, filters, options)),
    );
  parent
    .command('get')
    .description('write content to standard output or a file')
    .argument('<digest>')
    .option('-o, --output <file>', 'file to write')
    .action((digest: string, { output }: { output?: string }, command: Command) =>
      onDaemon(command, (client) => get(client, digest, output)),
    );
  parent
    .command('delete')
    .aliases(['rm', 'del', 'remove'])
    .description('delete content')
    .argument('<digest...>')
    .action((digests: string[], _options: object, command: Command) =>
      onDaemon(command, (client) => remove(client, digests)),
    );
  parent
    .command('active')
    .description('list content that is being written')
    .argument('[filter...]', 'such as ref~=layer-')
    .addOption(formatOption())
    .action((filters: string[], options: FormatOptions, command: Command) =>
      onDaemon(command, (client) => active(client, filters, options)),
    );
  parent
    .command('ingest')
    .description('write standard input to content, going on where an earlier try left off')
    .argument('<ref>', 'any name for what is being written')
    .option('--expected-digest <digest>', 'refuse anything else')
    .option('--expected-size <bytes>', 'refuse anything else')
    .action((ref: string, options: { expectedDigest?: string; expectedSize?: string }, command: Command) =>
      onDaemon(command, async (client) => {
        const expectation = parseExpectation(options.expectedDigest, options.expectedSize);
        process.stdout.write(`${await ingest(client, ref, expectation, process.stdin)}\n`);
      }),
    );
};

export const addContent = (program: Command): void => {
  const content = program.command('content').alias('c').description('blobs, by their digests');
  addContentVerbs(content);
  content
    .command('abort')
    .description('drop content that is being written')
    .argument('<ref...>')
    .action((refs: string[], _options: object, command: Command) =>
      onDaemon(command, async (client) => {
        for (const ref of refs) await client.content.abort({ ref });
      }),
    );
  content
    .command('label')
    .description('set labels of content; an empty value removes one')
    .argument('<digest>')
    .argument('<key=value...>')
    .action((digest: string, pairs: string[], _options: object, command: Command) =>
      onDaemon(command, async (client) => {
        const labels = parseLabels(pairs);
        const updateMask = Object.keys(labels).map((key) => `labels.${key}`);
        await client.content.update({ info: { digest, labels }, updateMask });
      }),
    );
};
