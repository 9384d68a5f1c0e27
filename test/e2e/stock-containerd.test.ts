/** The kits, over gRPC, on Debian's containerd: what they ask is what clients may count on, whoever answers. */
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { contentConformance } from '../conformance/content.js';
import { RemoteNamespaces } from '../conformance/content.remote.js';
import { daemonConformance } from '../conformance/daemon.js';
import { differConformance } from '../conformance/differ.js';
import { remoteDiffer } from '../conformance/differ.remote.js';
import { eventsConformance } from '../conformance/events.js';
import { remoteEvents } from '../conformance/events.remote.js';
import { Daemon } from '../harness/daemon.js';

let daemon: Daemon;
before(async () => {
  daemon = await Daemon.start({ kind: 'containerd' });
});
after(async () => {
  await namespaces[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

const unavailable = async () => undefined;
const runner = { describe, it };

const namespaces = new RemoteNamespaces(() => daemon.address);

contentConformance(runner, {
  name: "Debian's containerd",
  unavailable,
  can: {
    resumeAfterRestart: true,
    longDigests: false,
    keepExpectation: false,
    checkPromises: false,
    restartOnNewTotal: false,
    dropKnown: false,
    truncateAnywhere: false,
    readDeleted: false,
    protectLocked: false,
  },
  open: (root) => namespaces.open(root),
});

daemonConformance(runner, {
  name: "Debian's containerd",
  unavailable,
  address: () => daemon.address,
  snapshotter: 'overlayfs',
  can: { explainNamespaces: true, explainDeadlines: false, tellRequirements: true },
});

eventsConformance(runner, {
  name: "Debian's containerd",
  unavailable,
  can: { dropSlowSubscribers: false, checkNames: true, explainFilters: false, leaveQuietly: false },
  open: () => remoteEvents({ address: daemon.address, announcesSubscriptions: false }),
});

differConformance(runner, {
  name: "Debian's containerd",
  unavailable,
  encodings: { [OCI_LAYER]: (archive) => archive, [OCI_LAYER_GZIP]: (archive) => gzipSync(archive) },
  can: { compare: true, detach: false, explainRefusals: false, reproduce: false, clampTimes: false },
  open: () => remoteDiffer({ address: daemon.address }),
});
