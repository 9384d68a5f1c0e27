/** The kit of a whole daemon on ours, as it comes up by default. */
import { after, before, describe, it } from 'node:test';
import { daemonConformance } from '../conformance/daemon.js';
import { Daemon } from '../harness/daemon.js';

let daemon: Daemon;
before(async () => {
  daemon = await Daemon.start({ kind: 'keelsond' });
});
after(() => daemon[Symbol.asyncDispose]());

daemonConformance(
  { describe, it },
  {
    name: 'keelsond',
    unavailable: async () => undefined,
    address: () => daemon.address,
    snapshotter: 'overlayfs',
    can: { explainNamespaces: true, explainDeadlines: true, tellRequirements: true },
  },
);
