/** What stands in memory passes the kits of its contracts, as far as they ask nothing of files and processes. */
import { describe, it } from 'node:test';
import { ContentStore } from '../../kernel/contracts/content.js';
import { Events } from '../../kernel/contracts/events.js';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { recordsThrough, STILL, throughKernel } from '../conformance/metadata.doors.js';
import { metadataConformance } from '../conformance/metadata.js';
import { providing, startTestKernel } from './kernel.js';
import { MemoryContainers } from './memory-containers.js';
import { MemorySnapshotter } from './memory-snapshotter.js';
import { MemoryStore } from './memory-store.js';

const unavailable = async () => undefined;
const can = {
  truncateAnywhere: true,
  measureCollections: true,
  collectAtOnce: true,
  keepSandboxes: true,
  isolate: true,
};

/** Memory outlives what its directory stands for. */
function remembered<T>(make: () => T): (root: string) => T {
  const made = new Map<string, T>();
  return (root) => {
    const found = made.get(root) ?? make();
    made.set(root, found);
    return found;
  };
}

const backends = remembered(() => ({ store: new MemoryStore(), snapshotter: new MemorySnapshotter() }));

metadataConformance(
  { describe, it },
  {
    name: 'metadata on content and snapshots in memory',
    unavailable,
    can,
    open: (directory, { sharing }) =>
      recordsThrough((events) => {
        const { store, snapshotter } = backends(directory);
        return startTestKernel({
          plugins: [
            providing(Events, events),
            providing(ContentStore, store),
            providing(Snapshotters, snapshotter, 'native'),
            'metadata',
          ],
          config: { metadata: { content_sharing_policy: sharing, gc: STILL } },
          directory,
        });
      }),
  },
);

const containersOf = remembered(() => {
  const events: { namespace: string; topic: string; value: Uint8Array }[] = [];
  const publish: Events['publish'] = (namespace, topic, { value }) => void events.push({ namespace, topic, value });
  return { events, containers: new MemoryContainers({ publish }) };
});

/** One group of the kit of records, whose other services are those of the tree. */
const group = (wanted: string) => ({
  it,
  describe: (title: string, body: () => void) =>
    title === wanted || title.startsWith('metadata') ? describe(title, body) : undefined,
});

metadataConformance(group('containers'), {
  name: 'containers in memory',
  unavailable,
  can,
  async open(directory, options) {
    const { events, containers } = containersOf(directory);
    const { services, close } = await throughKernel(directory, options);
    return { services: { ...services, containers }, events, close };
  },
});
