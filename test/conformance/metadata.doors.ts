/** Further ways to namespaced records, on which their kit is run too: through a kernel, and over gRPC. */
import { join } from 'node:path';
import { connect } from '../../client/index.js';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content } from '../../kernel/contracts/content.js';
import { Events } from '../../kernel/contracts/events.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import type { Plugin } from '../../kernel/plugin.js';
import { providing, startTestKernel, type TestKernel } from '../harness/kernel.js';
import { recorder } from '../harness/metadata-bench.js';
import { remoteMetadata } from './metadata.remote.js';
import type { MetadataOptions, MetadataServices, OpenMetadata } from './metadata.workbench.js';

/** Collections run when asked for, and when something expires. */
const STILL = { startup_delay: '10h', schedule_delay: '0ms', mutation_threshold: 0, deletion_threshold: 0 };

/** What serves the records to clients. */
const SERVICES = ['content', 'snapshots', 'images', 'containers', 'namespaces', 'leases'].map(
  (name) => `${name}-service`,
);

type Told = { readonly namespace: string; readonly topic: string; readonly value: Uint8Array }[];

export const servicesOf = (kernel: TestKernel): MetadataServices => ({
  content: kernel.get(Content),
  snapshots: kernel.get(Snapshots),
  images: kernel.get(Images),
  containers: kernel.get(Containers),
  namespaces: kernel.get(Namespaces),
  leases: kernel.get(Leases),
  collector: kernel.get(GarbageCollector),
});

const start = (
  directory: string,
  { sharing }: MetadataOptions,
  events: Told,
  beside: readonly (string | Plugin)[],
  config: Readonly<Record<string, unknown>> = {},
): Promise<TestKernel> =>
  startTestKernel({
    plugins: [providing(Events, recorder(events)), 'content', 'snapshot-vfs', 'metadata', ...beside],
    config: { metadata: { content_sharing_policy: sharing, gc: STILL }, ...config },
    directory,
  });

/** Opens the records of a kernel. */
export async function throughKernel(directory: string, options: MetadataOptions): Promise<OpenMetadata> {
  const events: Told = [];
  const kernel = await start(directory, options, events, []);
  return { services: servicesOf(kernel), events, close: () => kernel.stop() };
}

/** Opens the records of a kernel as its clients have them. */
export async function throughGrpc(directory: string, options: MetadataOptions): Promise<OpenMetadata> {
  const events: Told = [];
  const address = join(directory, 's');
  const kernel = await start(directory, options, events, [...SERVICES, 'server-grpc'], { 'server-grpc': { address } });
  const client = connect({ address });
  return {
    services: remoteMetadata({ client, prefix: '', snapshotters: ['native'] }),
    events,
    async close() {
      client[Symbol.dispose]();
      await kernel.stop();
    },
  };
}
