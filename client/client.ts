/**
 * The typed client: every service of the daemon as async functions. It drives
 * stock containerd just as well.
 */
import { credentials, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { HealthDefinition } from '../api/gen/grpc/health.js';
import { ContainersDefinition } from '../api/gen/services/containers.js';
import { ContentDefinition } from '../api/gen/services/content.js';
import { DiffDefinition } from '../api/gen/services/diff.js';
import { EventsDefinition } from '../api/gen/services/events.js';
import { ImagesDefinition } from '../api/gen/services/images.js';
import { IntrospectionDefinition } from '../api/gen/services/introspection.js';
import { LeasesDefinition } from '../api/gen/services/leases.js';
import { NamespacesDefinition } from '../api/gen/services/namespaces.js';
import { SnapshotsDefinition } from '../api/gen/services/snapshots.js';
import { StreamingDefinition } from '../api/gen/services/streaming.js';
import { TasksDefinition } from '../api/gen/services/tasks.js';
import { TransferDefinition } from '../api/gen/services/transfer.js';
import { VersionDefinition } from '../api/gen/services/version.js';
import type { ServiceDefinition } from '../lib/rpc/definition.js';
import { type CallOptions, type Channel, type Stub, stub } from './stub.js';

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

export interface ConnectOptions {
  /** Path of the daemon's unix socket, with or without `unix://`. */
  readonly address: string;
  /** Sent with every call; services that need none ignore it. */
  readonly namespace: string;
}

/** One connection to a daemon, opened by the first call and shared by all stubs. */
export class Client implements Disposable {
  readonly namespace: string;
  /** Path of the socket. */
  readonly address: string;
  readonly containers: Stub<typeof ContainersDefinition>;
  readonly content: Stub<typeof ContentDefinition>;
  readonly diff: Stub<typeof DiffDefinition>;
  readonly events: Stub<typeof EventsDefinition>;
  readonly health: Stub<typeof HealthDefinition>;
  readonly images: Stub<typeof ImagesDefinition>;
  readonly introspection: Stub<typeof IntrospectionDefinition>;
  readonly leases: Stub<typeof LeasesDefinition>;
  readonly namespaces: Stub<typeof NamespacesDefinition>;
  readonly snapshots: Stub<typeof SnapshotsDefinition>;
  readonly streaming: Stub<typeof StreamingDefinition>;
  readonly tasks: Stub<typeof TasksDefinition>;
  readonly transfer: Stub<typeof TransferDefinition>;
  readonly version: Stub<typeof VersionDefinition>;
  readonly #channel: Channel;

  constructor({ address, namespace }: ConnectOptions) {
    this.address = address.replace(/^unix:(\/\/)?/, '');
    this.namespace = namespace;
    this.#channel = {
      address: this.address,
      client: new GrpcClient(`unix:${this.address}`, credentials.createInsecure(), {
        'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
        'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      }),
      metadata: (options) => this.#metadata(options),
    };
    this.containers = this.service(ContainersDefinition);
    this.content = this.service(ContentDefinition);
    this.diff = this.service(DiffDefinition);
    this.events = this.service(EventsDefinition);
    this.health = this.service(HealthDefinition);
    this.images = this.service(ImagesDefinition);
    this.introspection = this.service(IntrospectionDefinition);
    this.leases = this.service(LeasesDefinition);
    this.namespaces = this.service(NamespacesDefinition);
    this.snapshots = this.service(SnapshotsDefinition);
    this.streaming = this.service(StreamingDefinition);
    this.tasks = this.service(TasksDefinition);
    this.transfer = this.service(TransferDefinition);
    this.version = this.service(VersionDefinition);
  }

  /** The stub of any service, also of one that has no property here. */
  service<D extends ServiceDefinition>(definition: D): Stub<D> {
    return stub(this.#channel, definition);
  }

  #metadata({ lease }: CallOptions): Metadata {
    const metadata = new Metadata();
    metadata.set('containerd-namespace', this.namespace);
    if (lease !== undefined) metadata.set('containerd-lease', lease);
    return metadata;
  }

  /** Closes the connection; calls under way fail. */
  [Symbol.dispose](): void {
    this.#channel.client.close();
  }
}

/** Connects lazily: a daemon that is not there is reported by the first call, as UNAVAILABLE. */
export const connect = (options: ConnectOptions): Client => new Client(options);
