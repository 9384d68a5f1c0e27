import type { Command } from 'commander';
import { type Client, type PushRequest, pushImage } from '../../../client/index.js';
import { parsePlatform } from '../../../lib/oci/platform.js';
import { completeReference, formatReference } from '../../../lib/reference/reference.js';
import { onDaemon } from '../../connection.js';
import { credentialsFor, type UserOptions } from '../credentials.js';
import { interruptible } from '../interrupt.js';
import { collect, type FormatOptions, json } from '../output.js';
import { displayFor, shown } from '../progress/display.js';
import { withRegistryOptions } from './pull.js';

interface PushCommandOptions extends UserOptions, FormatOptions {
  readonly plainHttp?: boolean;
  readonly hostsDir?: string;
  readonly platform?: readonly string[];
  readonly quiet?: boolean;
}

async function push(client: Client, text: string, name: string | undefined, options: PushCommandOptions) {
  const reference = formatReference(completeReference(text));
  const credentials = await credentialsFor(options, process.stdin);
  const display = displayFor(options, reference);
  const request: PushRequest = {
    reference,
    name: name ?? reference,
    platforms: options.platform?.map(parsePlatform) ?? [],
    onProgress: (progress) => display.update(progress),
    credentials,
    ...(options.plainHttp === undefined ? {} : { plainHttp: options.plainHttp }),
    ...(options.hostsDir === undefined ? {} : { hostsDirectory: options.hostsDir }),
  };
  await shown(display, () => interruptible((signal) => pushImage(client, { ...request, signal })));
  const { image } = await client.images.get({ name: name ?? reference });
  const digest = image?.target?.digest ?? '';
  process.stdout.write(options.format === 'json' ? json({ name: reference, digest }) : `${reference} ${digest}\n`);
}

export const addPush = (parent: Command): void => {
  withRegistryOptions(parent.command('push'))
    .argument('[image]', 'its name here, as stored (default: the reference)')
    .description('send an image to a registry')
    .option('--platform <platform>', 'of a multi-platform image, this one; may be repeated (default: all)', collect)
    .action((reference: string, name: string | undefined, options: PushCommandOptions, command: Command) =>
      onDaemon(command, (client) => push(client, reference, name, options)),
    );
};
