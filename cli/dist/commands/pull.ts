import type { Command } from 'commander';
import { type Client, type PullRequest, pullImage } from '../../../client/index.js';
import { formatPlatform, hostPlatform, parsePlatform } from '../../../lib/oci/platform.js';
import { completeReference, formatReference } from '../../../lib/reference/reference.js';
import { onDaemon } from '../../connection.js';
import { credentialsFor, type UserOptions } from '../credentials.js';
import { interruptible } from '../interrupt.js';
import { collect, type FormatOptions, formatOption, json, parseLabels } from '../output.js';
import { displayFor, shown } from '../progress/display.js';

export interface PullCommandOptions extends UserOptions, FormatOptions {
  readonly plainHttp?: boolean;
  readonly hostsDir?: string;
  readonly snapshotter: string;
  readonly platform?: readonly string[];
  readonly allPlatforms?: boolean;
  readonly label?: readonly string[];
  readonly unpack: boolean;
  readonly quiet?: boolean;
}

/** Pulls what the arguments say and prints the result. */
export async function pull(client: Client, text: string, options: PullCommandOptions): Promise<void> {
  const reference = formatReference(completeReference(text));
  const credentials = await credentialsFor(options, process.stdin);
  const platforms = options.platform?.map(parsePlatform) ?? [hostPlatform()];
  const display = displayFor(options, reference);
  const request: PullRequest = {
    reference,
    labels: parseLabels(options.label ?? []),
    platforms: options.allPlatforms ? [] : platforms,
    unpack: options.unpack ? platforms.map((platform) => ({ platform, snapshotter: options.snapshotter })) : [],
    onProgress: (progress) => display.update(progress),
    credentials,
    ...(options.plainHttp === undefined ? {} : { plainHttp: options.plainHttp }),
    ...(options.hostsDir === undefined ? {} : { hostsDirectory: options.hostsDir }),
  };
  await shown(display, () => interruptible((signal) => pullImage(client, { ...request, signal })));
  const { image } = await client.images.get({ name: reference });
  const digest = image?.target?.digest ?? '';
  const result = { name: reference, digest, platforms: platforms.map(formatPlatform) };
  process.stdout.write(options.format === 'json' ? json(result) : `${reference} ${digest}\n`);
}

/** How to reach the registry of a reference. */
export const withRegistryOptions = (command: Command): Command =>
  command
    .argument('<reference>', 'such as docker.io/library/redis:alpine, or redis for short')
    .option('--plain-http', 'talk http to the registry')
    .option('--hosts-dir <path>', 'directory of <host>/hosts.toml files, on the machine of the daemon')
    .option('-u, --user <name:password>', 'credentials for the registry, when it asks for them')
    .option('--password-stdin', 'read the password from standard input')
    .option('-q, --quiet', 'print the result only')
    .addOption(formatOption());

/** The options that pulling and fetching share. */
const withPullOptions = (command: Command): Command =>
  withRegistryOptions(command)
    .option('--platform <platform>', 'such as linux/arm64; may be repeated (default: this machine)', collect)
    .option('--all-platforms', 'fetch the image for every platform')
    .option('--label <key=value>', 'label of the image; may be repeated', collect);

export const addPull = (program: Command): void => {
  withPullOptions(program.command('pull'))
    .description('fetch an image from its registry and unpack it')
    .option('--snapshotter <id>', 'where to unpack', process.env.CONTAINERD_SNAPSHOTTER ?? '')
    .option('--no-unpack', 'leave the layers packed')
    .action((reference: string, options: PullCommandOptions, command: Command) =>
      onDaemon(command, (client) => pull(client, reference, options)),
    );
};

/** `dist fetch`: as `dist content fetch`. */
export const addFetch = (parent: Command): void => {
  withPullOptions(parent.command('fetch'))
    .description('fetch all content of an image from its registry, without unpacking it')
    .action((reference: string, options: Omit<PullCommandOptions, 'snapshotter' | 'unpack'>, command: Command) =>
      onDaemon(command, (client) => pull(client, reference, { ...options, snapshotter: '', unpack: false })),
    );
};
