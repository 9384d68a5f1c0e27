/** The gRPC server: every service it is given, on one unix socket. */
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import { alreadyExists, unavailable } from '../../kernel/errors.js';
import { type Listener, listenOnSocket, type SocketAddress } from '../../lib/rpc/listener.js';
import { Calls } from './calls.js';
import { grpcMethod, type Invoke } from './methods.js';

export interface ServerLimits {
  /** Bytes of one message; a larger one is RESOURCE_EXHAUSTED. */
  readonly maxReceive: number;
  /** Bytes of one message; a larger one is RESOURCE_EXHAUSTED. */
  readonly maxSend: number;
  /** Milliseconds that calls get to end when the server stops. */
  readonly drain: number;
}

/** Milliseconds for handlers to answer once told that the server stops now. */
const LAST_GRACE = 250;

const identity = (bytes: Buffer): Buffer => bytes;

/** True when `done` came first. */
const within = async (done: Promise<void>, millis: number): Promise<boolean> => {
  const timer = new AbortController();
  const late = sleep(millis, false, { signal: timer.signal, ref: false }).catch(() => false);
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    timer.abort();
  }
};

export class GrpcServer {
  readonly #server: Server;
  readonly #limits: ServerLimits;
  readonly #log: Logger;
  readonly #calls: Calls;
  #listener: Listener | undefined;

  /** ALREADY_EXISTS when two of the services have one name. */
  constructor(services: ReadonlyMap<string, GrpcService>, limits: ServerLimits, log: Logger) {
    this.#limits = limits;
    this.#log = log;
    this.#calls = new Calls(log);
    this.#server = new Server({
      'grpc.max_receive_message_length': limits.maxReceive,
      'grpc.max_send_message_length': limits.maxSend,
      'grpc.enable_channelz': 0,
    });
    for (const [id, service] of services) this.#register(id, service);
  }

  #register(id: string, { definition, handlers }: GrpcService): void {
    for (const [key, method] of Object.entries(definition.methods)) {
      const handler = handlers[key];
      if (handler === undefined) continue;
      const path = `/${definition.fullName}/${method.name}`;
      // `implement` has checked the handler against its definition; the set of all services cannot say so
      const invoke = handler as Invoke;
      const { kind, handle } = grpcMethod(this.#calls, { path, definition: method, invoke });
      if (this.#server.register(path, handle, identity, identity, kind)) continue;
      throw alreadyExists(`plugin "${id}" serves "${definition.fullName}", which another plugin serves too`, {
        remedy: 'disable one of them',
      });
    }
  }

  /** Accepts connections. Errors as {@link listenOnSocket}. */
  async start(address: SocketAddress): Promise<void> {
    const connections = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const acceptor = createServer((socket) => connections.injectConnection(socket));
    this.#listener = await listenOnSocket(acceptor, address);
  }

  /**
   * Accepts no more, ends streams, gives other calls the drain time to end by
   * themselves, and then ends them too. UNAVAILABLE is what their callers get.
   */
  async stop(): Promise<void> {
    await this.#listener?.close();
    const closed = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    const reason = unavailable('the daemon is stopping', { remedy: 'call again once it runs' });
    this.#calls.abort(reason, (call) => call.streams);
    if (!(await within(closed, this.#limits.drain))) {
      this.#calls.abort(reason, () => true);
      await within(closed, LAST_GRACE);
    }
    const left = this.#calls.paths();
    if (left.length > 0) this.#log.warn({ calls: left }, 'calls did not end when told to');
    this.#server.forceShutdown();
  }
}
