/** Every service of the daemon, by the name the client gives it. */

import { ContentDefinition } from '../api/content.js';
import { HealthDefinition } from '../api/gen/grpc/health.js';
import { ContainersDefinition } from '../api/gen/services/containers.js';
import { ControlDefinition } from '../api/gen/services/control.js';
import { DiffDefinition } from '../api/gen/services/diff.js';
import { EventsDefinition } from '../api/gen/services/events.js';
import { ImagesDefinition } from '../api/gen/services/images.js';
import { IntrospectionDefinition } from '../api/gen/services/introspection.js';
import { LeasesDefinition } from '../api/gen/services/leases.js';
import { MountsDefinition } from '../api/gen/services/mounts.js';
import { NamespacesDefinition } from '../api/gen/services/namespaces.js';
import { ControllerDefinition, StoreDefinition } from '../api/gen/services/sandbox.js';
import { SnapshotsDefinition } from '../api/gen/services/snapshots.js';
import { StreamingDefinition } from '../api/gen/services/streaming.js';
import { TasksDefinition } from '../api/gen/services/tasks.js';
import { TransferDefinition } from '../api/gen/services/transfer.js';
import { VersionDefinition } from '../api/gen/services/version.js';
import type { ServiceDefinition } from '../lib/rpc/definition.js';

export const SERVICES = {
  containers: ContainersDefinition,
  content: ContentDefinition,
  control: ControlDefinition,
  diff: DiffDefinition,
  events: EventsDefinition,
  health: HealthDefinition,
  images: ImagesDefinition,
  introspection: IntrospectionDefinition,
  leases: LeasesDefinition,
  mounts: MountsDefinition,
  namespaces: NamespacesDefinition,
  sandboxController: ControllerDefinition,
  sandboxes: StoreDefinition,
  snapshots: SnapshotsDefinition,
  streaming: StreamingDefinition,
  tasks: TasksDefinition,
  transfer: TransferDefinition,
  version: VersionDefinition,
} as const satisfies Readonly<Record<string, ServiceDefinition>>;
