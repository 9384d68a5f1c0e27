/** Connections to a daemon: ours or stock containerd. */
import { Channel, type ChannelOptions } from '../lib/rpc/channel.js';
import type { ServiceDefinition } from '../lib/rpc/definition.js';
import type { Stub } from '../lib/rpc/stub.js';
import { SERVICES } from './services.js';

export interface ConnectOptions extends Pick<ChannelOptions, 'address' | 'maxMessage'> {
  /** Sent with every call; services that are not divided by namespaces ignore it. */
  readonly namespace?: string;
}

type Stubs = { readonly [K in keyof typeof SERVICES]: Stub<(typeof SERVICES)[K]> };

/** One stub per service, and the connection they share. */
export interface Client extends Stubs, Disposable {
  /** Path of the socket. */
  readonly address: string;
  readonly namespace: string | undefined;
  /** The stub of any service, also of one that has no property here. */
  service<D extends ServiceDefinition>(definition: D): Stub<D>;
  /** The same connection in another namespace; disposing of either ends both. */
  in(namespace: string): Client;
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: 'start keelsond, or name its socket with --address',
  ECONNREFUSED: 'start keelsond, or name its socket with --address',
  EACCES: 'run as root, or as a member of the group that owns the socket',
};

function clientOver(channel: Channel, namespace: string | undefined): Client {
  const stubs = Object.entries(SERVICES).map(([name, service]) => [name, channel.stub(service, namespace)]);
  return {
    // every stub was made from the definition that its type is made from
    ...(Object.fromEntries(stubs) as Stubs),
    address: channel.address,
    namespace,
    service: (definition) => channel.stub(definition, namespace),
    in: (other) => clientOver(channel, other),
    [Symbol.dispose]: () => channel.close(),
  };
}

/**
 * A client of the daemon at `address`. Connects with the first call; a daemon
 * that cannot be reached makes that call fail with UNAVAILABLE.
 */
export function connect({ namespace, ...options }: ConnectOptions): Client {
  return clientOver(new Channel({ ...options, remedies: REMEDIES }), namespace);
}
