/** The kits for the contracts that a plugin package provides. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { builtins } from '../../config/builtins.js';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content, ContentStore } from '../../kernel/contracts/content.js';
import { Differs } from '../../kernel/contracts/diff.js';
import { Events } from '../../kernel/contracts/events.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { SandboxControllers } from '../../kernel/contracts/sandbox-controllers.js';
import { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import { Snapshots, Snapshotters } from '../../kernel/contracts/snapshots.js';
import { discover, load } from '../../kernel/discover.js';
import { invalidArgument, notFound } from '../../kernel/errors.js';
import { tokensOf } from '../../kernel/plan.js';
import type { Plugin } from '../../kernel/plugin.js';
import { readBlob } from '../harness/blob.js';
import { providing, startTestKernel, type TestKernel } from '../harness/kernel.js';
import { scratch } from '../harness/scratch.js';
import type { CollectingRunner } from './collect.js';
import { Answers, type ConformanceOptions, type PreparedKits } from './command.js';
import { contentConformance } from './content.js';
import { type DifferSubject, differConformance } from './differ.js';
import { eventsConformance } from './events.js';
import { recordsThrough } from './metadata.doors.js';
import { metadataConformance } from './metadata.js';
import { providersFor } from './providers.js';
import { runtimeConformance } from './runtime.js';
import { sandboxControllerConformance } from './sandbox-controller.js';
import { serviceConformance } from './service.js';
import { snapshotterConformance } from './snapshotter.js';

/** What a package's module may export besides `plugin`, to answer what the kits ask. */
const Told = z.object({
  plugin: z.looseObject({ id: z.string() }),
  can: z.record(z.string(), z.union([z.boolean(), z.number()])).optional(),
  runtimeName: z.string().optional(),
  encodings: z
    .record(
      z.string(),
      z.custom<(archive: Buffer) => Uint8Array>((value) => typeof value === 'function'),
    )
    .optional(),
});
type Told = z.infer<typeof Told>;

interface Found {
  readonly plugin: Plugin;
  readonly told: Told;
}

async function find(target: string): Promise<Found> {
  const isPath = statSync(resolve(target), { throwIfNoEntry: false }) !== undefined;
  const entry = isPath ? { path: resolve(target) } : { package: target };
  const sources = { builtins, packagesFrom: [process.cwd()] };
  const told = Told.safeParse(await load('', entry, sources));
  if (!told.success) throw invalidArgument(`"${target}" exports no plugin: ${z.prettifyError(told.error)}`);
  const found = await discover(told.data.plugin.id, entry, sources);
  if ('failure' in found) throw invalidArgument(found.failure.message);
  return { plugin: found.definition.plugin, told: told.data };
}

/** What a plugin of records provides, all of it: they refer to each other. Sandboxes may be left out. */
const RECORDS = [Content, Snapshots, Images, Containers, Namespaces, Leases, GarbageCollector];

const missing = (plugin: Plugin) => notFound(`plugin "${plugin.id}" provides nothing under the id "${plugin.wire.id}"`);

export async function packageKits(runner: CollectingRunner, options: ConformanceOptions): Promise<PreparedKits> {
  const { plugin, told } = await find(options.target);
  const answers = new Answers(options.cannot);
  const can = (name: string): boolean => answers.can(name) && Boolean(told.can?.[name] ?? true);
  const config = { [plugin.id]: options.config };
  const unavailable = async () => (process.getuid?.() === 0 ? undefined : 'it needs root');
  const base = { name: plugin.id, unavailable };
  const start = async (
    directory?: string,
    extra: readonly Plugin[] = [],
    except: readonly string[] = [],
  ): Promise<TestKernel> =>
    startTestKernel({
      plugins: [...(await providersFor(plugin, except)), ...extra, plugin],
      config,
      ...(directory !== undefined && { directory }),
    });
  const provided = new Set(tokensOf(plugin.provides).map(({ id }) => id));

  if (provided.has(Snapshotters.id))
    snapshotterConformance(runner, {
      ...base,
      directory: () => scratch('kit'),
      can: {
        rebase: can('rebase'),
        renameParentsDirectory: can('renameParentsDirectory'),
        writeThroughParentsHardlinks: can('writeThroughParentsHardlinks'),
        exactTimes: can('exactTimes'),
      },
      async open(root) {
        const kernel = await start(root);
        const snapshotter = kernel.get(Snapshotters).get(plugin.wire.id);
        if (snapshotter === undefined) throw missing(plugin);
        return { snapshotter, close: () => kernel.stop() };
      },
    });
  if (provided.has(ContentStore.id))
    contentConformance(runner, {
      ...base,
      can: {
        resumeAfterRestart: can('resumeAfterRestart'),
        longDigests: can('longDigests'),
        keepExpectation: can('keepExpectation'),
        checkPromises: can('checkPromises'),
        restartOnNewTotal: can('restartOnNewTotal'),
        dropKnown: can('dropKnown'),
        truncateAnywhere: can('truncateAnywhere'),
        readDeleted: can('readDeleted'),
        protectLocked: can('protectLocked'),
      },
      async open(root) {
        const kernel = await start(root);
        return { store: kernel.get(ContentStore), close: () => kernel.stop() };
      },
    });
  if (provided.has(Events.id))
    eventsConformance(runner, {
      ...base,
      can: {
        dropSlowSubscribers: false,
        checkNames: can('checkNames'),
        explainFilters: can('explainFilters'),
        leaveQuietly: can('leaveQuietly'),
      },
      async open() {
        const kernel = await start();
        return { bus: kernel.get(Events), close: async () => kernel[Symbol.asyncDispose]() };
      },
    });
  if (provided.has(Differs.id)) {
    const encodings: DifferSubject['encodings'] | undefined = told.encodings;
    if (encodings === undefined)
      throw invalidArgument(`"${options.target}" exports no "encodings"`, {
        remedy: 'export a table of its media types, each with a function that makes such a layer of a tar archive',
      });
    differConformance(runner, {
      ...base,
      encodings,
      can: {
        compare: can('compare'),
        detach: can('detach'),
        explainRefusals: can('explainRefusals'),
        reproduce: can('reproduce'),
        clampTimes: can('clampTimes'),
      },
      async open() {
        const kernel = await start();
        const differ = kernel.get(Differs).get(plugin.wire.id);
        if (differ === undefined) throw missing(plugin);
        const read = ({ digest }: { readonly digest: string }) =>
          readBlob(kernel.get(Content), { namespace: 'kit' }, digest);
        return { differ, read, close: async () => kernel[Symbol.asyncDispose]() };
      },
    });
  }
  if (provided.has(Runtimes.id))
    runtimeConformance(runner, {
      ...base,
      runtimeName: told.runtimeName ?? plugin.wire.id,
      // short: the path of a socket below it has 107 bytes at most
      directory: () => scratch('rt'),
      can: {
        outliveReader: can('outliveReader'),
        keepUnreadOutput: can('keepUnreadOutput'),
        replayExits: can('replayExits'),
        startWithoutReader: can('startWithoutReader'),
        resizeBeforeStart: can('resizeBeforeStart'),
        reattachTerminal: can('reattachTerminal'),
        checkpoint: can('checkpoint'),
      },
      async open(directory, events) {
        const kernel = await start(directory, [providing(Events, events)], [Events.id]);
        const runtime = kernel.get(Runtimes).get(plugin.wire.id);
        if (runtime === undefined) throw missing(plugin);
        return { runtime, close: () => kernel.stop() };
      },
    });
  if (RECORDS.every(({ id }) => provided.has(id)))
    metadataConformance(runner, {
      ...base,
      can: {
        truncateAnywhere: can('truncateAnywhere'),
        measureCollections: can('measureCollections'),
        collectAtOnce: can('collectAtOnce'),
        keepSandboxes: provided.has(Sandboxes.id),
        // its configuration is given, once for all
        isolate: false,
      },
      open: (root) =>
        recordsThrough((events) => start(root, [providing(Events, events)], [Events.id]), {
          hasSandboxes: provided.has(Sandboxes.id),
        }),
    });
  if (provided.has(SandboxControllers.id))
    sandboxControllerConformance(runner, {
      ...base,
      can: { update: can('update'), measure: can('measure') },
      async open() {
        const kernel = await start();
        const controller = kernel.get(SandboxControllers).get(plugin.wire.id);
        if (controller === undefined) throw missing(plugin);
        return { controller, close: async () => kernel[Symbol.asyncDispose]() };
      },
    });
  if (provided.has(GrpcServices.id))
    serviceConformance(runner, { ...base, plugin, config: options.config, beside: await providersFor(plugin) });
  if (runner.count === 0)
    throw invalidArgument(`there is no kit for what "${plugin.id}" provides: ${[...provided].join(', ')}`);
  answers.checkAllAsked();
  return { subject: `${plugin.id}: ${plugin.wire.type}.${plugin.wire.id}`, async [Symbol.asyncDispose]() {} };
}
