import type { Command } from 'commander';
import type { Client, Mount } from '../../../client/index.js';
import { hasCode, invalidArgument } from '../../../kernel/errors.js';
import { parsePlatform } from '../../../lib/oci/platform.js';
import { applyChanges, defaultSpec, type RuntimeSpec, withUser } from '../../../lib/oci/runtime-spec.js';
import { packJson } from '../../../lib/rpc/any.js';
import { onDaemon } from '../../connection.js';
import { inForeground } from '../foreground.js';
import { findImage, type RunnableImage } from '../image.js';
import { pairs, type RunOptions, specChanges, withRunOptions } from '../run-options.js';
import { userIn } from '../runtime-user.js';
import { makeStdio, NULL_STDIO, removeStdio, startDetached } from '../stdio.js';
import { ensureUnpacked } from '../unpack.js';

export const SPEC_TYPE_URL = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
const STOP_SIGNAL_LABEL = 'io.containerd.image.config.stop-signal';
const DEFAULT_SNAPSHOTTER = 'overlayfs';

const namespaceOf = (client: Client): string => client.namespace ?? 'default';
const LEASE_SECONDS = 24 * 60 * 60;

/** Undoes steps of an unfinished start, last first. */
class Undo {
  readonly #steps: (() => Promise<unknown>)[] = [];

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  /** What is gone already is undone. */
  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) {
      await step().catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND')) throw error;
      });
    }
  }
}

async function defaultSnapshotter(client: Client): Promise<string> {
  const { namespace } = await client.namespaces.get({ name: namespaceOf(client) });
  return namespace?.labels['containerd.io/defaults/snapshotter'] || DEFAULT_SNAPSHOTTER;
}

/** Holds what is made until the container's own record does. */
async function underLease<T>(client: Client, work: (lease: string) => Promise<T>): Promise<T> {
  const expire = new Date(Date.now() + LEASE_SECONDS * 1000).toISOString();
  const { lease } = await client.leases.create({ labels: { 'containerd.io/gc.expire': expire } });
  const id = lease?.id ?? '';
  try {
    return await work(id);
  } finally {
    await client.leases.delete({ id });
  }
}

interface Made {
  readonly rootfs: Mount[];
  readonly undo: Undo;
}

async function makeContainer(
  client: Client,
  id: string,
  image: RunnableImage,
  args: readonly string[],
  options: RunOptions,
): Promise<Made> {
  const snapshotter = options.snapshotter ?? (await defaultSnapshotter(client));
  const undo = new Undo();
  return underLease(client, async (lease) => {
    await ensureUnpacked(client, image, snapshotter, lease);
    try {
      const parent = image.chainId ?? '';
      const { mounts } = await client.snapshots.prepare({ snapshotter, key: id, parent }, { lease });
      undo.add(() => client.snapshots.remove({ snapshotter, key: id }));
      const spec = await buildSpec(client, id, image, args, options, mounts);
      await client.containers.create(
        {
          container: {
            id,
            image: image.name,
            labels: containerLabels(image, options),
            runtime: { name: options.runtime },
            spec: packJson(SPEC_TYPE_URL, spec),
            snapshotter,
            snapshotKey: id,
          },
        },
        { lease },
      );
      undo.add(() => client.containers.delete({ id }));
      return { rootfs: mounts, undo };
    } catch (error) {
      await undo.run();
      throw error;
    }
  });
}

const containerLabels = (image: RunnableImage, options: RunOptions): Record<string, string> => ({
  ...(image.process.stopSignal === '' ? {} : { [STOP_SIGNAL_LABEL]: image.process.stopSignal }),
  ...pairs('label', options.label),
});

async function buildSpec(
  client: Client,
  id: string,
  image: RunnableImage,
  args: readonly string[],
  options: RunOptions,
  rootfs: readonly Mount[],
): Promise<RuntimeSpec> {
  const user = await userIn(rootfs, options.user ?? image.process.user);
  const changes = await specChanges(options, image.process, args);
  const spec = applyChanges(defaultSpec(namespaceOf(client), id), [...changes, withUser(user)]);
  if (spec.process.args.length === 0) {
    throw invalidArgument(`image "${image.name}" has no command`, { remedy: 'give one after the id' });
  }
  return spec;
}

async function runContainer(
  client: Client,
  id: string,
  image: RunnableImage,
  args: readonly string[],
  options: RunOptions,
): Promise<void> {
  const { rootfs, undo } = await makeContainer(client, id, image, args, options);
  const terminal = options.tty ?? false;
  const stdio = options.nullIo ? NULL_STDIO : await makeStdio(options.fifoDir, id, terminal);
  undo.add(() => removeStdio(stdio));
  const name = { containerId: id, execId: '' };
  const start = async (): Promise<void> => {
    await client.tasks.create({ containerId: id, rootfs, ...stdio });
    undo.add(() => client.tasks.delete({ containerId: id }));
    await client.tasks.start(name);
  };
  try {
    if (options.detach) {
      await startDetached(stdio, start);
      return;
    }
    const ending = await inForeground(client, { process: name, stdio, detachKeys: options.detachKeys, start });
    if (ending.kind === 'detached') return;
    process.exitCode = ending.code;
  } catch (error) {
    await undo.run();
    throw error;
  }
  if (options.rm) await undo.run();
  else {
    await client.tasks.delete({ containerId: id });
    await removeStdio(stdio);
  }
}

/** `IMAGE ID [COMMAND...]`, or `--id ID IMAGE [COMMAND...]`. */
function splitArguments(rest: readonly string[], id: string | undefined): { id: string; args: readonly string[] } {
  if (id !== undefined) return { id, args: rest };
  const [first, ...args] = rest;
  if (first === undefined)
    throw invalidArgument('the container has no id', { remedy: 'give one after the image, or --id' });
  return { id: first, args };
}

export const addRun = (program: Command): void => {
  withRunOptions(program.command('run'))
    .description('run a container from an image')
    .argument('<image>', 'name of a pulled image')
    .argument('[id-and-command...]', 'id of the container, then its command line')
    .passThroughOptions()
    .action(async (name: string, rest: string[], options: RunOptions, command: Command) => {
      if (options.rm && options.detach) throw invalidArgument('--rm and --detach exclude each other');
      const { id, args } = splitArguments(rest, options.id);
      await onDaemon(command, async (client) => {
        const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
        const image = await findImage(client, name, platform);
        await runContainer(client, id, image, args, options);
      });
    });
};
