/** The kits on the far side of our own proxy: another kernel behind a socket. */
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Content } from '../../kernel/contracts/content.js';
import { Leases } from '../../kernel/contracts/leases.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { type ProxySettings, proxySettings } from '../../lib/proxy-settings.js';
import { contentConformance } from '../../test/conformance/content.js';
import { differConformance } from '../../test/conformance/differ.js';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { readBlob } from '../../test/harness/blob.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { ProxyContentStore } from './content.js';
import { ProxyDiffer } from './differ.js';
import { Remote } from './remote.js';
import { ProxySnapshotter } from './snapshotter.js';

const settings = (address: string, type: 'snapshot' | 'content' | 'diff'): ProxySettings =>
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

// A process that unpacks reads layers from the content of the daemon that asks it: here they are one kernel.
differConformance(
  { describe, it },
  {
    name: 'diff through our own proxy',
    unavailable: async () => undefined,
    encodings: { [OCI_LAYER]: (archive) => archive, [OCI_LAYER_GZIP]: (archive) => gzipSync(archive, { level: 1 }) },
    can: { compare: true, detach: false, explainRefusals: true, reproduce: true, clampTimes: true },
    async open() {
      const directory = await scratch('proxy');
      const address = join(directory.path, 's');
      const kernel = await startTestKernel({
        plugins: [...BASE, 'content-service', 'diff', 'differs', 'diff-service'],
        config: { 'server-grpc': { address } },
        directory: directory.path,
      });
      const content = kernel.get(Content);
      const remote = new Remote('remote', settings(address, 'diff'));
      const parts = { content, leases: kernel.get(Leases), namespace: 'kit' };
      return {
        differ: new ProxyDiffer(remote, parts),
        read: ({ digest }) => readBlob(content, { namespace: 'kit' }, digest),
        async close() {
          remote.close();
          await kernel.stop();
          await directory[Symbol.asyncDispose]();
        },
      };
    },
  },
);
