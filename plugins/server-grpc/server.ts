/** The gRPC server: every service there is, as they come and go, on one unix socket. */
import type { Logger } from 'pino';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import { type KeelsonError, unavailable, unimplemented } from '../../kernel/errors.js';
import type { LiveMap } from '../../kernel/plugin.js';
import { type Listener, listenOnSocket, type SocketAddress } from '../../lib/rpc/listener.js';
import { Calls } from './calls.js';
import { Connections } from './connections.js';
import { Lane, type MessageLimits } from './lane.js';
import type { Invoke, Method } from './methods.js';
import { OtherCalls } from './other-calls.js';
import { within } from './within.js';

export interface ServerLimits extends MessageLimits {
  /** Milliseconds that calls get to end when the server stops. */
  readonly drain: number;
}

/** Milliseconds for handlers to answer once told that the server stops now. */
const LAST_GRACE = 250;

function methodsOf({ definition, handlers }: GrpcService): Method[] {
  return Object.entries(definition.methods).flatMap(([key, method]) => {
    const handler = handlers[key];
    const path = `/${definition.fullName}/${method.name}`;
    // `implement` has checked the handler against its definition; the set of all services cannot say so
    return handler === undefined ? [] : [{ path, definition: method, invoke: handler as Invoke }];
  });
}

interface Served {
  /** Wire id of the plugin. */
  readonly owner: string;
  readonly methods: readonly Method[];
}

export interface ServerParts {
  /** Watched: services are served from when they are there until they are gone. */
  readonly services: LiveMap<GrpcService | readonly GrpcService[]>;
  /** True while the plugin that provides the service of that id is about to start. */
  readonly isExpected: (id: string) => boolean;
  readonly limits: ServerLimits;
  readonly log: Logger;
}

export class GrpcServer {
  readonly #connections: Connections;
  readonly #parts: ServerParts;
  readonly #calls: Calls;
  readonly #lane: Lane;
  readonly #others: OtherCalls;
  readonly #unwatch: () => void;
  /** By the full name of the service. */
  readonly #served = new Map<string, Served>();
  #listener: Listener | undefined;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#calls = new Calls(parts.log);
    this.#lane = new Lane(this.#calls, parts.limits);
    this.#others = new OtherCalls(this.#calls, parts);
    this.#connections = new Connections((stream, headers) => {
      if (!this.#lane.take(stream, headers)) this.#others.take(stream, headers);
    });
    this.#serveAll();
    this.#unwatch = parts.services.watch({ added: () => this.#serveAll(), removed: (id) => this.#withdraw(id) });
  }

  #serveAll(): void {
    for (const [id, services] of this.#parts.services)
      try {
        for (const service of [services].flat()) this.#serve(id, service);
      } catch (error) {
        this.#parts.log.error({ plugin: id, err: error }, 'what the plugin offers is no gRPC service');
      }
  }

  /** Of two plugins that serve one service, the first does; the other is told of in the log. */
  #serve(id: string, service: GrpcService): void {
    const { fullName } = service.definition;
    const owner = this.#served.get(fullName)?.owner;
    if (owner === id) return;
    if (owner !== undefined) {
      this.#parts.log.error({ service: fullName, plugin: owner, refused: id }, 'two plugins serve one service');
      return;
    }
    const methods = methodsOf(service);
    for (const method of methods) this.#register(method);
    this.#served.set(fullName, { owner: id, methods });
  }

  #register(method: Method): void {
    this.#others.register(method);
    this.#lane.register(method);
  }

  /** New calls are refused, those under way get the drain time; other services notice nothing. */
  async #withdraw(id: string): Promise<void> {
    const left = [...this.#served].filter(([, { owner }]) => owner === id);
    for (const [name, { methods }] of left) {
      const invoke = (): never => {
        throw this.#refusal(id, name);
      };
      for (const method of methods) this.#register({ ...method, invoke });
      this.#served.delete(name);
    }
    this.#serveAll();
    const calls = this.#calls.to(new Set(left.flatMap(([, { methods }]) => methods.map(({ path }) => path))));
    const ended = Promise.all(calls.map((call) => call.ended));
    if (await within(ended, this.#parts.limits.drain)) return;
    for (const call of calls) call.abort(this.#refusal(id, call.path));
    await within(ended, LAST_GRACE);
  }

  #refusal(id: string, name: string): KeelsonError {
    if (this.#parts.isExpected(id))
      return unavailable(`"${name}" is being restarted`, { remedy: 'call again in a moment' });
    return unimplemented(`"${name}" is no longer served`, { remedy: 'its plugin was taken out of the configuration' });
  }

  /** Accepts connections. Errors as {@link listenOnSocket}. */
  async start(address: SocketAddress): Promise<void> {
    this.#listener = await listenOnSocket(this.#connections.acceptor, address);
  }

  /**
   * Accepts no more, ends streams, gives other calls the drain time to end by
   * themselves, and then ends them too. UNAVAILABLE is what their callers get.
   */
  async stop(): Promise<void> {
    this.#unwatch();
    await this.#listener?.close();
    this.#connections.closeSilent();
    const reason = unavailable('the daemon is stopping', { remedy: 'call again once it runs' });
    this.#calls.abort(reason, (call) => call.streams);
    if (!(await within(this.#calls.over(), this.#parts.limits.drain))) {
      this.#calls.abort(reason, () => true);
      await within(this.#calls.over(), LAST_GRACE);
    }
    const left = this.#calls.paths();
    if (left.length > 0) this.#parts.log.warn({ calls: left }, 'calls did not end when told to');
    // What was answered last is still on its way.
    await this.#connections.close(LAST_GRACE);
    this.#others.close();
  }
}
