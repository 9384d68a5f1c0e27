import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Containers } from '../../kernel/contracts/containers.js';
import type { Content, ContentStore } from '../../kernel/contracts/content.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { Images } from '../../kernel/contracts/images.js';
import type { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { SnapshotDoubts, Snapshots, Snapshotter } from '../../kernel/contracts/snapshots.js';
import { Collector } from './collector/collector.js';
import { Scheduler } from './collector/scheduler.js';
import { ContainerRecords } from './containers.js';
import { ContentRecords } from './content.js';
import { Core } from './core.js';
import { type Clock, Expiries, systemClock } from './expiry.js';
import { ImageRecords } from './images.js';
import { LeaseRecords } from './leases.js';
import { NamespaceRecords } from './namespaces.js';
import { openRecords } from './open.js';
import { SandboxRecords } from './sandboxes.js';
import { DoubtfulSnapshots } from './snapshot-doubts.js';
import { SnapshotTable } from './snapshot-table.js';
import { SnapshotRecords } from './snapshots.js';

export interface MetadataSettings {
  readonly content_sharing_policy: 'shared' | 'isolated';
  readonly default_snapshotter: string;
  readonly gc: {
    readonly pause_threshold: number;
    readonly deletion_threshold: number;
    readonly mutation_threshold: number;
    /** Milliseconds. */
    readonly schedule_delay: number;
    /** Milliseconds. */
    readonly startup_delay: number;
  };
}

export interface MetadataParts {
  readonly directory: string;
  readonly settings: MetadataSettings;
  readonly store: ContentStore;
  readonly snapshotters: ReadonlyMap<string, Snapshotter>;
  readonly events: Events;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface MetadataServices {
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly doubts: SnapshotDoubts;
  readonly images: Images;
  readonly containers: Containers;
  readonly sandboxes: Sandboxes;
  readonly namespaces: Namespaces;
  readonly leases: Leases;
  readonly collector: GarbageCollector;
}

export interface Metadata {
  readonly services: MetadataServices;
  close(): Promise<void>;
}

/** Opens the database and puts the services on it; collections begin after the startup delay. */
export async function openMetadata(parts: MetadataParts): Promise<Metadata> {
  const { store, snapshotters, events, log, settings, clock = systemClock } = parts;
  const records = await openRecords(join(parts.directory, 'metadata.sqlite'), log);
  const core = new Core({ database: records.database, events, log, clock, expiries: new Expiries(clock) });
  const { gc } = settings;
  const pacing = {
    pauseThreshold: gc.pause_threshold,
    deletionThreshold: gc.deletion_threshold,
    mutationThreshold: gc.mutation_threshold,
    scheduleDelay: gc.schedule_delay,
    startupDelay: gc.startup_delay,
  };
  const scheduler = new Scheduler(
    new Collector(core, { store, snapshotters, keepUnknown: records.lossy }),
    pacing,
    log,
  );
  core.trigger = scheduler;
  const doubts = new DoubtfulSnapshots(core, new SnapshotTable(core), snapshotters);
  return {
    services: {
      content: new ContentRecords(core, { store, shared: settings.content_sharing_policy === 'shared' }),
      snapshots: new SnapshotRecords(core, {
        backends: snapshotters,
        defaultSnapshotter: settings.default_snapshotter,
        doubts,
      }),
      doubts,
      images: new ImageRecords(core),
      containers: new ContainerRecords(core),
      sandboxes: new SandboxRecords(core),
      namespaces: new NamespaceRecords(core),
      leases: new LeaseRecords(core),
      collector: scheduler,
    },
    async close() {
      await scheduler.stop();
      await records.close();
    },
  };
}
