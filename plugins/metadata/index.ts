import { z } from 'zod';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content, ContentStore } from '../../kernel/contracts/content.js';
import { Events } from '../../kernel/contracts/events.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import { SnapshotDoubts, Snapshots, Snapshotters } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { parseDuration } from '../../lib/duration.js';
import { openMetadata } from './metadata.js';

const duration = (preset: string, description: string) =>
  z
    .string()
    .refine((text) => (parseDuration(text) ?? -1) >= 0, 'expected a duration such as "100ms" or "1m30s"')
    .default(preset)
    .describe(description)
    .transform((text) => parseDuration(text) ?? 0);

const count = (preset: number, description: string) => z.int().min(0).default(preset).describe(description);

const gc = z
  .object({
    pause_threshold: z
      .number()
      .min(0)
      .max(0.5)
      .default(0.02)
      .describe('Share of real time that garbage collections may take, at most 0.5.'),
    deletion_threshold: count(
      0,
      'Removals after which a collection runs at once; 0: they alone cause one a minute later.',
    ),
    mutation_threshold: count(
      100,
      'Changes after which a collection runs even if nothing was removed; 0: they do not count.',
    ),
    schedule_delay: duration('0ms', 'Time between the cause of a collection and its start.'),
    startup_delay: duration('100ms', 'Time between the start of the daemon and the first collection.'),
  })
  .strict();

const config = z
  .object({
    content_sharing_policy: z
      .enum(['shared', 'isolated'])
      .default('shared')
      .describe('Whether a namespace may take over content of another without uploading it.'),
    default_snapshotter: z.string().min(1).default('overlayfs').describe('The snapshotter that is named first.'),
    gc: gc.prefault({}).describe('When garbage is collected.'),
  })
  .strict();

/** Everything that is recorded, per namespace, in one database; and the collector of what nobody refers to. */
export const plugin = definePlugin({
  id: 'metadata',
  api: 1,
  wire: { type: 'io.containerd.metadata.v1', id: 'bolt' },
  config,
  requires: { store: ContentStore, snapshotters: Snapshotters, events: Events },
  provides: {
    content: Content,
    snapshots: Snapshots,
    doubts: SnapshotDoubts,
    images: Images,
    containers: Containers,
    sandboxes: Sandboxes,
    namespaces: Namespaces,
    leases: Leases,
    collector: GarbageCollector,
  },
  async start({ config: settings, deps, log, rootDir, onStop }) {
    const metadata = await openMetadata({ ...deps, log, directory: rootDir(), settings });
    onStop(() => metadata.close());
    return metadata.services;
  },
});
