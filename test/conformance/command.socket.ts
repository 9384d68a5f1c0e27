/** The kits that look at a daemon through its socket. */
import { gzipSync } from 'node:zlib';
import { connect } from '../../client/index.js';
import { invalidArgument } from '../../kernel/errors.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
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
import { RemoteSnapshots } from './snapshotter.doors.js';
import { snapshotterConformance } from './snapshotter.js';

const unavailable = async () => undefined;

export async function socketKits(runner: CollectingRunner, options: ConformanceOptions): Promise<PreparedKits> {
  const { target: address, snapshotter } = options;
  const answers = new Answers(options.cannot);
  const can = answers.can.bind(answers);
  const resources = new AsyncDisposableStack();
  using client = connect({ address });
  const { version, revision } = await client.version.version({}, { timeout: 5000 });
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
  };
  // asked here already, though it is used only when a subscription is made
  can('announceSubscriptions');
  for (const kit of options.kits.length > 0 ? options.kits : Object.keys(kits)) {
    const register = kits[kit];
    if (register === undefined)
      throw invalidArgument(`there is no kit "${kit}"`, { remedy: `choose of ${Object.keys(kits).join(', ')}` });
    register();
  }
  answers.checkAllAsked();
  const subject = `${address}: version ${version}${revision && `, revision ${revision}`}`;
  return { subject, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
