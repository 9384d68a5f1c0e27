/** grpc-js as the server of single calls, on connections that it did not open. */
import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
// Of grpc-js only what serves: its other half, which calls, takes as long to load again.
import { Server } from '@grpc/grpc-js/build/src/server.js';
import { ServerCredentials } from '@grpc/grpc-js/build/src/server-credentials.js';
import { internal } from '../../kernel/errors.js';
import type { Calls } from './calls.js';
import { grpcMethod } from './grpc-js-method.js';
import type { MessageLimits } from './lane.js';
import type { Method } from './methods.js';

const identity = (bytes: Buffer): Buffer => bytes;

type Listener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/**
 * What grpc-js does with a stream of a connection. It takes whole connections only, and gives no access to what it makes
 * for them; its own table of HTTP/2 servers is read instead.
 */
function streamListener(server: Server): Listener {
  server.createConnectionInjector(ServerCredentials.createInsecure());
  const servers: unknown = Reflect.get(server, 'http2Servers');
  const [http] = servers instanceof Map ? [...servers.keys()] : [];
  const [listener] = http instanceof EventEmitter ? http.listeners('stream') : [];
  if (listener === undefined) throw internal('grpc-js has no HTTP/2 server to be found any more');
  return (stream, headers) => Reflect.apply(listener, http, [stream, headers]);
}

export class GrpcJsServer {
  readonly #server: Server;
  readonly #calls: Calls;
  readonly #listener: Listener;

  constructor(calls: Calls, limits: MessageLimits) {
    this.#calls = calls;
    this.#server = new Server({
      'grpc.max_receive_message_length': limits.maxReceive,
      'grpc.max_send_message_length': limits.maxSend,
      'grpc.enable_channelz': 0,
    });
    this.#listener = streamListener(this.#server);
  }

  register(method: Method): void {
    const { kind, handle } = grpcMethod(this.#calls, method);
    this.#server.unregister(method.path);
    this.#server.register(method.path, handle, identity, identity, kind);
  }

  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.#listener(stream, headers);
  }

  close(): void {
    this.#server.forceShutdown();
  }
}
