import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ContentStore } from '../../kernel/contracts/content.js';
import { contentConformance } from '../../test/conformance/content.js';
import { remoteStore } from '../../test/conformance/content.remote.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { LocalStore } from './store.js';

const can = {
  resumeAfterRestart: true,
  longDigests: true,
  keepExpectation: true,
  checkPromises: true,
  restartOnNewTotal: true,
  dropKnown: true,
  truncateAnywhere: true,
  readDeleted: true,
  protectLocked: true,
};
const subject = { unavailable: async () => undefined, can };

contentConformance(
  { describe, it },
  {
    ...subject,
    name: 'content',
    async open(root) {
      const store = await LocalStore.open(root);
      return { store, close: () => store.close() };
    },
  },
);

contentConformance(
  { describe, it },
  {
    ...subject,
    name: 'content through a kernel',
    async open(directory) {
      const kernel = await startTestKernel({ plugins: ['content'], directory });
      return { store: kernel.get(ContentStore), close: () => kernel.stop() };
    },
  },
);

contentConformance(
  { describe, it },
  {
    ...subject,
    name: 'content over gRPC',
    can: { ...can, keepExpectation: false, truncateAnywhere: false, readDeleted: false, protectLocked: false },
    async open(directory) {
      const address = join(directory, 's');
      const kernel = await startTestKernel({
        plugins: [
          'content',
          'content-service',
          'events',
          'metadata',
          'leases-service',
          'namespaces-service',
          'server-grpc',
        ],
        config: { 'server-grpc': { address } },
        directory,
      });
      const { store, close } = await remoteStore({ address, namespace: 'kit', keep: true });
      return {
        store,
        async close() {
          await close();
          await kernel.stop();
        },
      };
    },
  },
);
