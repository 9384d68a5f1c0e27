/** The gRPC server: every service there is, as they come and go, on one unix socket. */
import { EventEmitter, once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
// Of grpc-js only what serves: its other half, which calls, takes as long to load again.
import { Server } from '@grpc/grpc-js/build/src/server.js';
import { ServerCredentials } from '@grpc/grpc-js/build/src/server-credentials.js';
import type { Logger } from 'pino';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import { internal, type KeelsonError, unavailable, unimplemented } from '../../kernel/errors.js';
import type { LiveMap } from '../../kernel/plugin.js';
import type { MethodDefinition } from '../../lib/rpc/definition.js';
import { type Listener, listenOnSocket, type SocketAddress } from '../../lib/rpc/listener.js';
import { Calls } from './calls.js';
import { Lane } from './lane.js';
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

/** Streams given up at once, and in a second, on one connection: more than anybody manages. */
const MOST_RESETS = 1_000_000;

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

/**
 * Node ends a connection on which clients give up streams again and again (a
 * thousand, then 33 in a second). containerd's clients do just that: `ctr
 * content get` gives up each of its reads, of 32 KB, once it has the bytes.
 * Whoever can reach the socket needs no such means to do harm. grpc-js offers
 * no option for this; its object of HTTP/2 options is changed instead.
 */
function allowResets(server: Server): void {
  const options: unknown = Reflect.get(server, 'commonServerOptions');
  if (typeof options !== 'object' || options === null)
    throw internal('grpc-js has no place for HTTP/2 options any more');
  Object.assign(options, { streamResetBurst: MOST_RESETS, streamResetRate: MOST_RESETS });
}

/**
 * Puts `lane` in front of grpc-js on the server that it has just made for connections. It gives no access to that one;
 * its own table of servers is read instead.
 */
function putInFront(server: Server, lane: Lane): void {
  const servers: unknown = Reflect.get(server, 'http2Servers');
  const [last] = servers instanceof Map ? [...servers.keys()].slice(-1) : [];
  const [theirs] = last instanceof EventEmitter ? last.listeners('stream') : [];
  if (theirs === undefined) throw internal('grpc-js has no HTTP/2 server to be found any more');
  last.removeAllListeners('stream');
  last.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => {
    if (!lane.take(stream, headers)) Reflect.apply(theirs, last, [stream, headers, ...rest]);
  });
}

interface Route {
  readonly path: string;
  readonly definition: MethodDefinition;
  readonly invoke: Invoke;
}

function routesOf({ definition, handlers }: GrpcService): Route[] {
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
  readonly routes: readonly Route[];
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
  readonly #server: Server;
  readonly #parts: ServerParts;
  readonly #calls: Calls;
  readonly #lane: Lane;
  readonly #unwatch: () => void;
  /** By the full name of the service. */
  readonly #served = new Map<string, Served>();
  /** Of the connections that are open. */
  readonly #sockets = new Set<Socket>();
  #connections: ReturnType<Server['createConnectionInjector']> | undefined;
  #listener: Listener | undefined;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#calls = new Calls(parts.log);
    this.#lane = new Lane(this.#calls, parts.limits);
    this.#server = new Server({
      'grpc.max_receive_message_length': parts.limits.maxReceive,
      'grpc.max_send_message_length': parts.limits.maxSend,
      'grpc.enable_channelz': 0,
    });
    allowResets(this.#server);
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
    const routes = routesOf(service);
    for (const route of routes) this.#register(route);
    this.#served.set(fullName, { owner: id, routes });
  }

  #register(route: Route): void {
    const { kind, handle } = grpcMethod(this.#calls, route);
    this.#server.unregister(route.path);
    this.#server.register(route.path, handle, identity, identity, kind);
    this.#lane.register(route);
  }

  /** New calls are refused, those under way get the drain time; other services notice nothing. */
  async #withdraw(id: string): Promise<void> {
    const left = [...this.#served].filter(([, { owner }]) => owner === id);
    for (const [name, { routes }] of left) {
      const invoke = (): never => {
        throw this.#refusal(id, name);
      };
      for (const route of routes) this.#register({ ...route, invoke });
      this.#served.delete(name);
    }
    this.#serveAll();
    const calls = this.#calls.to(new Set(left.flatMap(([, { routes }]) => routes.map(({ path }) => path))));
    const ended = Promise.all(calls.map((call) => call.ended)).then(() => undefined);
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
    const connections = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#connections = connections;
    putInFront(this.#server, this.#lane);
    const acceptor = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      connections.injectConnection(socket);
    });
    this.#listener = await listenOnSocket(acceptor, address);
  }

  /**
   * Accepts no more, ends streams, gives other calls the drain time to end by
   * themselves, and then ends them too. UNAVAILABLE is what their callers get.
   */
  async stop(): Promise<void> {
    this.#unwatch();
    await this.#listener?.close();
    const reason = unavailable('the daemon is stopping', { remedy: 'call again once it runs' });
    this.#calls.abort(reason, (call) => call.streams);
    if (!(await within(this.#calls.over(), this.#parts.limits.drain))) {
      this.#calls.abort(reason, () => true);
      await within(this.#calls.over(), LAST_GRACE);
    }
    const left = this.#calls.paths();
    if (left.length > 0) this.#parts.log.warn({ calls: left }, 'calls did not end when told to');
    // What was answered last is still on its way; a connection without calls closes at once.
    this.#connections?.drain(LAST_GRACE);
    const closed = [...this.#sockets].map((socket) => once(socket, 'close'));
    await within(
      Promise.all(closed).then(() => undefined),
      2 * LAST_GRACE,
    );
    for (const socket of this.#sockets) socket.destroy();
    this.#server.forceShutdown();
  }
}
