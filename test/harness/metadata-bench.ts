/** The metadata plugin on real backends, without a kernel around it: for tests that need its collector held still. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Envelope, Events } from '../../kernel/contracts/events.js';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import { LocalStore } from '../../plugins/content/store.js';
import type { Clock } from '../../plugins/metadata/expiry.js';
import { type MetadataServices, type MetadataSettings, openMetadata } from '../../plugins/metadata/metadata.js';
import { openVfs } from '../../plugins/snapshot-vfs/vfs.js';

export interface MetadataBenchOptions {
  readonly sharing?: 'shared' | 'isolated';
  readonly clock?: Clock;
  /** Default: only when asked, and when something expires. */
  readonly gc?: Partial<MetadataSettings['gc']>;
  /** In place of the plain snapshotter. */
  readonly snapshotter?: (real: Snapshotter) => Snapshotter;
}

export interface OpenMetadataBench {
  readonly services: MetadataServices;
  readonly store: LocalStore;
  readonly snapshotter: Snapshotter;
  readonly events: { readonly namespace: string; readonly topic: string; readonly value: Uint8Array }[];
  close(): Promise<void>;
}

/** Nothing is collected until asked for. */
const STILL = {
  pause_threshold: 1e-6,
  deletion_threshold: 0,
  mutation_threshold: 0,
  schedule_delay: 0,
  startup_delay: 1_000_000,
};

/** An event exchange that remembers what was published, and hands it to nobody. */
export function recorder(into: OpenMetadataBench['events']): Events {
  const forward = ({ namespace, topic, event }: Envelope): void => {
    into.push({ namespace, topic, value: event.value });
  };
  return {
    publish: (namespace, topic, event) => forward({ timestamp: 0n, namespace, topic, event }),
    forward,
    async *subscribe() {},
  };
}

export async function openMetadataBench(root: string, options: MetadataBenchOptions = {}): Promise<OpenMetadataBench> {
  const made = (name: string): string => {
    const path = join(root, name);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const log = pino({ level: process.env.KEELSON_TEST_LOG ?? 'silent' });
  const store = await LocalStore.open(made('content'));
  const vfs = await openVfs(made('snapshots'), { warn: () => undefined });
  const snapshotter = options.snapshotter?.(vfs) ?? vfs;
  const events: OpenMetadataBench['events'] = [];
  const metadata = await openMetadata({
    directory: made('metadata'),
    settings: {
      content_sharing_policy: options.sharing ?? 'shared',
      default_snapshotter: 'overlayfs',
      gc: { ...STILL, ...options.gc },
    },
    store,
    snapshotters: new Map([['native', snapshotter]]),
    events: recorder(events),
    log,
    ...(options.clock && { clock: options.clock }),
  });
  return {
    services: metadata.services,
    store,
    snapshotter,
    events,
    async close() {
      await metadata.close();
      await vfs.close();
    },
  };
}
