/** The kits on the far side of our own proxy: another kernel behind a socket. */
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type ProxySettings, proxySettings } from '../../lib/proxy-settings.js';
import { contentConformance } from '../../test/conformance/content.js';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { ProxyContentStore } from './content.js';
import { Remote } from './remote.js';
import { ProxySnapshotter } from './snapshotter.js';

const settings = (address: string, type: 'snapshot' | 'content'): ProxySettings =>
  proxySettings.parse({ type, address, namespace: 'kit' });

const BASE = ['content', 'events', 'metadata', 'server-grpc'];

snapshotterConformance(
  { describe, it },
  {
    name: 'overlayfs through our own proxy',
    unavailable: async () => undefined,
    can: { rebase: true, renameParentsDirectory: false, writeThroughParentsHardlinks: false, exactTimes: true },
    directory: () => scratch('proxy'),
    async open(root) {
      const address = join(root, 's');
      const plugins = [...BASE, 'snapshot-overlay', 'snapshots-service'];
      const kernel = await startTestKernel({ plugins, config: { 'server-grpc': { address } }, directory: root });
      const remote = new Remote('keelson-overlayfs', settings(address, 'snapshot'));
      return {
        snapshotter: new ProxySnapshotter(remote, ['rebase']),
        async close() {
          remote.close();
          await kernel.stop();
        },
      };
    },
  },
);

contentConformance(
  { describe, it },
  {
    name: 'content through our own proxy',
    unavailable: async () => undefined,
    can: {
      resumeAfterRestart: true,
      longDigests: true,
      keepExpectation: false,
      checkPromises: true,
      dropKnown: true,
      restartOnNewTotal: true,
      truncateAnywhere: false,
      readDeleted: false,
      protectLocked: false,
    },
    async open(root) {
      const address = join(root, 's');
      const plugins = [...BASE, 'content-service'];
      const kernel = await startTestKernel({ plugins, config: { 'server-grpc': { address } }, directory: root });
      const remote = new Remote('remote', settings(address, 'content'));
      return {
        store: new ProxyContentStore(remote),
        async close() {
          remote.close();
          await kernel.stop();
        },
      };
    },
  },
);
