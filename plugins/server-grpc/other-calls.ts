/** Calls that are not for the lane. grpc-js serves them; as a start would take longer with it, it is loaded with the first. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Logger } from 'pino';
import { statusNumber } from '../../lib/rpc/status.js';
import type { Calls } from './calls.js';
import type { GrpcJsServer } from './grpc-js-server.js';
import { finish, type MessageLimits } from './lane.js';
import type { Method } from './methods.js';

export interface OtherCallsParts {
  readonly limits: MessageLimits;
  readonly log: Logger;
}

export class OtherCalls {
  readonly #calls: Calls;
  readonly #parts: OtherCallsParts;
  readonly #methods = new Map<string, Method>();
  #loading: Promise<GrpcJsServer> | undefined;
  #loaded: GrpcJsServer | undefined;

  constructor(calls: Calls, parts: OtherCallsParts) {
    this.#calls = calls;
    this.#parts = parts;
  }

  /** Serves the method from now on, in place of a former one at its path. */
  register(method: Method): void {
    this.#methods.set(method.path, method);
    this.#loaded?.register(method);
  }

  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    if (this.#loaded) this.#loaded.take(stream, headers);
    else void this.#takeOnceLoaded(stream, headers);
  }

  close(): void {
    this.#loaded?.close();
  }

  async #takeOnceLoaded(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    // A stream that fails meanwhile closes too.
    stream.on('error', () => {});
    try {
      this.#loading ??= this.#load();
      const server = await this.#loading;
      if (!stream.destroyed) server.take(stream, headers);
    } catch (error) {
      this.#parts.log.error({ err: error, method: headers[':path'] }, 'grpc-js, which serves such calls, cannot');
      finish(stream, { code: statusNumber('INTERNAL'), details: 'grpc-js cannot serve the call' });
    }
  }

  async #load(): Promise<GrpcJsServer> {
    const { GrpcJsServer } = await import('./grpc-js-server.js');
    const server = new GrpcJsServer(this.#calls, this.#parts.limits);
    for (const method of this.#methods.values()) server.register(method);
    this.#loaded = server;
    return server;
  }
}
