/** The kits that look at a daemon through its socket. */
import { gzipSync } from 'node:zlib';
import { connect } from '../../client/index.js';
import { hasCode, invalidArgument } from '../../kernel/errors.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { remoteRuntime } from '../harness/remote-runtime.js';
import { scratch } from '../harness/scratch.js';
import type { CollectingRunner } from './collect.js';
import { Answers, type ConformanceOptions, type PreparedKits } from './command.js';
import { contentConformance } from './content.js';
import { RemoteNamespaces } from './content.remote.js';
import { daemonConformance } from './daemon.js';
import { differConformance } from './differ.js';
import { remoteDiffer } from './differ.remote.js';
import { eventsConformance } from './events.js';
import { remoteEvents } from './events.remote.js';
import { RemoteRecords } from './metadata.doors.js';
import { metadataConformance } from './metadata.js';
import { type RuntimeGroup, runtimeConformance } from './runtime.js';
import { NAMESPACE } from './runtime.workbench.js';
import { RemoteSnapshots } from './snapshotter.doors.js';
import { snapshotterConformance } from './snapshotter.js';

const unavailable = async () => undefined;

/** Records that nothing refers to stay only where nothing is collected unasked: this kit is run when it is named. */
const NAMED_ONLY: readonly string[] = ['metadata'];

/** A daemon that others use is not restarted. */
const RUNTIME_GROUPS: readonly RuntimeGroup[] = ['lifecycle', 'streams', 'exec', 'control', 'historic bugs'];

/** The namespace of the runtime kit, if it was used. */
async function removeNamespace(address: string): Promise<void> {
  using client = connect({ address });
  await client.namespaces.delete({ name: NAMESPACE }).catch((error: unknown) => {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
  });
}

export async function socketKits(runner: CollectingRunner, options: ConformanceOptions): Promise<PreparedKits> {
  const { target: address, snapshotter } = options;
  const answers = new Answers(options.cannot);
  const can = answers.can.bind(answers);
  const resources = new AsyncDisposableStack();
  using client = connect({ address });
  const { version, revision } = await client.version.version({}, { timeout: 5000 });
  const { plugins: services } = await client.introspection.plugins({ filters: ['type==io.containerd.grpc.v1'] });
  const name = address;

  const kits: Readonly<Record<string, () => void>> = {
    daemon: () =>
      daemonConformance(runner, {
        name,
        unavailable,
        address: () => address,
        snapshotter,
        can: {
          explainNamespaces: can('explainNamespaces'),
          explainDeadlines: can('explainDeadlines'),
          tellRequirements: can('tellRequirements'),
        },
      }),
    content: () => {
      const namespaces = resources.use(new RemoteNamespaces(() => address));
      contentConformance(runner, {
        name: `${name}, content`,
        unavailable,
        can: {
          resumeAfterRestart: true,
          longDigests: can('longDigests'),
          keepExpectation: false,
          checkPromises: can('checkPromises'),
          restartOnNewTotal: can('restartOnNewTotal'),
          dropKnown: can('dropKnown'),
          // the protocol has no call for these
          truncateAnywhere: false,
          readDeleted: false,
          protectLocked: false,
        },
        open: (root) => namespaces.open(root),
      });
    },
    events: () =>
      eventsConformance(runner, {
        name,
        unavailable,
        can: {
          dropSlowSubscribers: false,
          checkNames: can('checkNames'),
          explainFilters: can('explainFilters'),
          leaveQuietly: can('leaveQuietly'),
        },
        open: () => remoteEvents({ address, announcesSubscriptions: can('announceSubscriptions') }),
      }),
    differ: () =>
      differConformance(runner, {
        name,
        unavailable,
        encodings: { [OCI_LAYER]: (archive) => archive, [OCI_LAYER_GZIP]: (archive) => gzipSync(archive) },
        can: {
          compare: can('compare'),
          detach: false,
          explainRefusals: can('explainRefusals'),
          reproduce: can('reproduce'),
          clampTimes: can('clampTimes'),
        },
        open: () => remoteDiffer({ address }),
      }),
    snapshotter: () => {
      const rebase = can('rebase');
      const snapshots = resources.use(new RemoteSnapshots(address, snapshotter, rebase ? ['rebase'] : []));
      snapshotterConformance(runner, {
        name: `${snapshotter} of ${name}`,
        unavailable,
        directory: () => scratch('kit'),
        can: {
          rebase,
          renameParentsDirectory: can('renameParentsDirectory'),
          writeThroughParentsHardlinks: can('writeThroughParentsHardlinks'),
          exactTimes: can('exactTimes'),
        },
        open: (root) => snapshots.open(root),
      });
    },
    metadata: () => {
      const hasSandboxes = services.some(({ id }) => id === 'sandboxes');
      const records = resources.use(new RemoteRecords(address, { hasSandboxes }));
      metadataConformance(runner, {
        name,
        unavailable,
        can: {
          truncateAnywhere: false,
          measureCollections: false,
          collectAtOnce: false,
          keepSandboxes: hasSandboxes,
          isolate: false,
        },
        open: (root) => records.open(root),
      });
    },
    runtime: () => {
      resources.defer(() => removeNamespace(address));
      runtimeConformance(
        runner,
        {
          name: `${options.runtime} of ${name}`,
          runtimeName: options.runtime,
          unavailable,
          directory: () => scratch('rt'),
          can: {
            outliveReader: can('outliveReader'),
            keepUnreadOutput: can('keepUnreadOutput'),
            startWithoutReader: can('startWithoutReader'),
            resizeBeforeStart: can('resizeBeforeStart'),
            reattachTerminal: can('reattachTerminal'),
            // asked only of what is restarted
            replayExits: false,
            // images of checkpoints are content here, not directories
            checkpoint: false,
          },
          open: (_directory, events) => remoteRuntime(address, NAMESPACE, events),
        },
        RUNTIME_GROUPS,
      );
    },
  };
  // asked here already, though it is used only when a subscription is made
  can('announceSubscriptions');
  const usual = Object.keys(kits).filter((kit) => !NAMED_ONLY.includes(kit));
  for (const kit of options.kits.length > 0 ? options.kits : usual) {
    const register = kits[kit];
    if (register === undefined)
      throw invalidArgument(`there is no kit "${kit}"`, { remedy: `choose of ${Object.keys(kits).join(', ')}` });
    register();
  }
  answers.checkAllAsked();
  const subject = `${address}: version ${version}${revision && `, revision ${revision}`}`;
  return { subject, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
