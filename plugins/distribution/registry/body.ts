/** Bodies of answers: small ones whole and bounded, blobs in large chunks with back-pressure. */
import type { IncomingMessage } from 'node:http';
import { canDivert, type Diversion, divert } from './diversion.js';
import { LATER, RegistryFailure, transportFailure } from './failure.js';

/** Fewer bytes than this in a whole no-progress period count as none: a peer that drips is as good as silent. */
const DRIP = 1024;

/**
 * Watches that a body keeps coming. Only the time spent waiting for the peer
 * counts, not the time the consumer takes.
 */
class ProgressWatch {
  readonly #timeout: number;
  readonly #expired: () => void;
  #timer: NodeJS.Timeout | undefined;
  #waited = 0;
  #bytes = 0;
  #since = 0;

  constructor(timeout: number, expired: () => void) {
    this.#timeout = timeout;
    this.#expired = expired;
  }

  wait(): void {
    if (this.#timer) return;
    this.#since = performance.now();
    this.#timer = setTimeout(this.#expired, Math.max(0, this.#timeout - this.#waited));
  }

  stop(): void {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waited += performance.now() - this.#since;
  }

  /** Re-arms only once enough has come: setting a timer for every packet would cost more than reading it. */
  received(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < DRIP) return;
    this.#bytes = 0;
    this.#waited = 0;
    this.#since = performance.now();
    this.#timer?.refresh();
  }
}

export interface ReadBody {
  /** For messages and failures. */
  readonly url: URL;
  /** Milliseconds without progress. */
  readonly timeout: number;
}

const stalled = (url: URL, timeout: number) =>
  new RegistryFailure(
    'DEADLINE_EXCEEDED',
    `registry "${url.host}" sent nothing worth mentioning for ${Math.ceil(timeout / 1000)} s`,
    { retry: LATER },
  );

/** The whole body; RESOURCE_EXHAUSTED, and the connection cut, when it is longer than `limit` bytes. */
export function readWhole(response: IncomingMessage, limit: number, { url, timeout }: ReadBody): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const watch = new ProgressWatch(timeout, () => response.destroy(stalled(url, timeout)));
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    watch.received(chunk.length);
    if (size <= limit) chunks.push(chunk);
    else
      response.destroy(
        new RegistryFailure('RESOURCE_EXHAUSTED', `the answer of registry "${url.host}" is longer than ${limit} bytes`),
      );
  });
  response.once('error', (error) => reject(transportFailure(url, error)));
  response.once('end', () => resolve(Buffer.concat(chunks)));
  response.once('close', () => watch.stop());
  watch.wait();
  return promise;
}

/** Reads what is left of an answer nobody wants, so that its connection can serve again; cuts it when that is much. */
export async function discard(response: IncomingMessage, body: ReadBody): Promise<void> {
  try {
    await readWhole(response, 64 * 1024, body);
  } catch (error) {
    if (!(error instanceof RegistryFailure)) throw error;
    response.destroy();
  }
}

const closedEarly = (url: URL) =>
  new RegistryFailure('UNAVAILABLE', `registry "${url.host}" closed the connection early`, { retry: LATER });

export interface ReadChunks extends ReadBody {
  /** Bytes the body must have: one more and the connection is cut with FAILED_PRECONDITION. */
  readonly expected: number;
  /** Told the bytes received so far, packet by packet. */
  received(bytes: number): void;
  /** A buffer for the next chunk, of at least one byte; called when one is to be filled. */
  allocate(remaining: number): Uint8Array;
  /** Takes a full chunk (the last may be shorter); the next one is filled meanwhile, but not handed over before this settles. */
  take(chunk: Uint8Array): Promise<void>;
}

/** Bytes still to come that are worth a connection of their own: one that is diverted ends with its body. */
const WORTH_DIVERTING = 1024 * 1024;

/**
 * Reads a body in chunks, one being filled while another is taken. What has
 * arrived before a failure is handed over before the failure is thrown.
 */
export function readChunks(response: IncomingMessage, options: ReadChunks): Promise<void> {
  return new ChunkReader(response, options).run();
}

class ChunkReader implements Diversion {
  readonly #response: IncomingMessage;
  readonly #options: ReadChunks;
  readonly #watch: ProgressWatch;
  readonly #done = Promise.withResolvers<void>();
  #chunk: Uint8Array | undefined;
  #filled = 0;
  #received = 0;
  /** The packet that did not fit while the consumer was busy. */
  #rest: Buffer | undefined;
  #taking: Promise<void> | undefined;
  #failure: unknown;
  #ended = false;
  #diverted = false;

  constructor(response: IncomingMessage, options: ReadChunks) {
    this.#response = response;
    this.#options = options;
    const { url, timeout } = options;
    this.#watch = new ProgressWatch(timeout, () => response.destroy(stalled(url, timeout)));
  }

  run(): Promise<void> {
    const response = this.#response;
    response.on('data', (packet: Buffer) => this.#onData(packet));
    response.once('error', (error) => this.#end(transportFailure(this.#options.url, error)));
    response.once('end', () => this.#end(undefined));
    response.once('close', () => this.#end(closedEarly(this.#options.url)));
    this.#watch.wait();
    return this.#done.promise;
  }

  #onData(packet: Buffer): void {
    if (this.#ended) return;
    if (!this.#count(packet.length)) return;
    if (!this.#fill(packet)) this.#response.pause();
    else if (this.#left > WORTH_DIVERTING && canDivert(this.#response)) {
      this.#diverted = true;
      divert(this.#response, this);
    }
  }

  /** Bytes still to come. */
  get #left(): number {
    return this.#options.expected - this.#received;
  }

  next(): Uint8Array | undefined {
    if (this.#ended || this.#left === 0) return undefined;
    if (this.#chunk && this.#filled === this.#chunk.length && !this.#hand()) return undefined;
    this.#chunk ??= this.#options.allocate(this.#left);
    return this.#chunk.subarray(this.#filled, this.#filled + this.#left);
  }

  filled(bytes: number): boolean {
    if (this.#ended || !this.#count(bytes)) return false;
    this.#filled += bytes;
    return this.#goOn(this.#filled < (this.#chunk?.length ?? 0) || this.#hand());
  }

  packet(bytes: Buffer): boolean {
    if (this.#ended || !this.#count(bytes.length)) return false;
    if (!this.#rest) return this.#goOn(this.#fill(bytes));
    // TLS hands over what it has decrypted, paused or not.
    this.#rest = Buffer.concat([this.#rest, bytes]);
    return false;
  }

  /** Whether a diverted body goes on; the last byte ends it. */
  #goOn(hasRoom: boolean): boolean {
    if (this.#left > 0) {
      if (!hasRoom) this.#watch.stop();
      return hasRoom;
    }
    if (!this.#rest) this.#end(undefined);
    return false;
  }

  /** False when that is more than was promised. */
  #count(bytes: number): boolean {
    this.#received += bytes;
    this.#watch.received(bytes);
    const { expected, url } = this.#options;
    if (this.#received <= expected) {
      this.#options.received(this.#received);
      return true;
    }
    const message = `registry "${url.host}" sends more than the ${expected} bytes that were promised of ${url.pathname}`;
    this.#end(new RegistryFailure('FAILED_PRECONDITION', message));
    this.#response.destroy();
    return false;
  }

  /** False when the packet did not fit while the consumer was busy: what is left of it waits. */
  #fill(packet: Buffer): boolean {
    let rest = packet;
    while (rest.length > 0) {
      if (this.#chunk && this.#filled === this.#chunk.length && !this.#hand()) {
        this.#rest = Buffer.from(rest);
        this.#watch.stop();
        return false;
      }
      this.#chunk ??= this.#options.allocate(this.#options.expected - this.#received + rest.length);
      const part = rest.subarray(0, this.#chunk.length - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
    }
    return true;
  }

  /** Hands the filled chunk over unless the one before is still being taken. */
  #hand(): boolean {
    if (this.#taking || !this.#chunk) return false;
    const chunk = this.#chunk.subarray(0, this.#filled);
    this.#chunk = undefined;
    this.#filled = 0;
    this.#taking = this.#options.take(chunk).then(
      () => this.#taken(),
      (error: unknown) => this.#refused(error),
    );
    return true;
  }

  #taken(): void {
    this.#taking = undefined;
    if (this.#filled === this.#chunk?.length) this.#hand();
    const rest = this.#rest;
    this.#rest = undefined;
    const hasRoom = rest === undefined || this.#fill(rest);
    if (this.#ended) this.#finish();
    else if (hasRoom && this.#diverted && this.#left === 0) this.#end(undefined);
    else if (hasRoom) this.#resume();
  }

  #resume(): void {
    this.#watch.wait();
    if (this.#diverted) this.#response.socket.resume();
    else if (this.#response.isPaused()) this.#response.resume();
  }

  /** The consumer failed: nothing more can be handed over. */
  #refused(error: unknown): void {
    this.#taking = undefined;
    this.#filled = 0;
    this.#rest = undefined;
    this.#failure = error;
    this.#ended = true;
    this.#response.destroy();
    this.#finish();
  }

  #end(failure: RegistryFailure | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    if (this.#diverted) this.#response.destroy();
    this.#finish();
  }

  /** Called again after every chunk taken, until nothing is left to hand over. */
  #finish(): void {
    this.#watch.stop();
    if (this.#taking) return;
    if (this.#filled > 0 && this.#hand()) return;
    if (this.#failure === undefined) this.#done.resolve();
    else this.#done.reject(this.#failure);
  }
}
