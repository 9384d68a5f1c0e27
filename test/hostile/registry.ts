/**
 * A registry on loopback that misbehaves on command. Left alone it serves what
 * was added to it as the distribution specification says; every script changes
 * one answer.
 */
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { digestOf } from '../../lib/digest.js';
import { refuse } from './refuse.js';
import { Uploads } from './uploads.js';

export { refuse } from './refuse.js';

export interface Entry {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly bytes: Buffer;
  /** `performance.now()` milliseconds. */
  readonly at: number;
}

/** One answer; call `normal` for what would have been sent without a script. */
export type Reply = (response: ServerResponse, request: IncomingMessage, normal: () => void) => void;

interface Script {
  readonly matches: RegExp;
  readonly reply: Reply;
  remaining: number;
}

export interface RegistryKeys {
  readonly key: string;
  readonly cert: string;
  /** Authority of client certificates; one is then demanded. */
  readonly clientCa?: string;
}

export class ScriptedRegistry implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  readonly #server: Server;
  readonly #scripts: Script[] = [];
  readonly #manifests = new Map<string, { readonly mediaType: string; readonly bytes: Buffer }>();
  readonly #blobs = new Map<string, Buffer>();
  readonly uploads = new Uploads(this.#blobs);
  readonly #scheme: string;

  private constructor(keys: RegistryKeys | undefined) {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#listen(request, response);
    };
    const client = keys?.clientCa === undefined ? {} : { ca: keys.clientCa, requestCert: true };
    this.#server = keys ? createSecureServer({ ...keys, ...client }, listener) : createServer(listener);
    this.#scheme = keys ? 'https' : 'http';
  }

  static async start(keys?: RegistryKeys): Promise<ScriptedRegistry> {
    const registry = new ScriptedRegistry(keys);
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `${this.#scheme}://${this.host}`;
  }

  addBlob(bytes: Buffer, mediaType = 'application/octet-stream'): Entry {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Serves a document by its digest, and by a tag when one is given. */
  addManifest(document: unknown, mediaType: string, tag?: string): Entry {
    const bytes = Buffer.isBuffer(document) ? document : Buffer.from(JSON.stringify(document));
    const digest = digestOf(bytes);
    for (const name of tag === undefined ? [digest] : [digest, tag]) this.#manifests.set(name, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  }

  /** Replaces the next `times` answers to requests whose `METHOD /path?query` matches. Scripts added first are used first. */
  script(matches: RegExp, reply: Reply, times = 1): void {
    this.#scripts.push({ matches, reply, remaining: times });
  }

  /** Drops the scripts that are left and the requests seen so far. */
  forget(): void {
    this.#scripts.length = 0;
    this.requests.length = 0;
  }

  /** Requests whose `METHOD /path?query` matches. */
  seen(matches: RegExp): readonly SeenRequest[] {
    return this.requests.filter(({ method, url }) => matches.test(`${method} ${url}`));
  }

  async #listen(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const at = performance.now();
    const bytes = await readBody(request);
    this.requests.push({ method, url, headers, body: bytes.toString(), bytes, at });
    const script = this.#scripts.find(({ matches, remaining }) => remaining > 0 && matches.test(`${method} ${url}`));
    const normal = (): void => this.#serve(request, response, bytes);
    if (script) {
      script.remaining--;
      script.reply(response, request, normal);
    } else {
      normal();
    }
  }

  #serve(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const { pathname } = new URL(request.url ?? '', this.url);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.#take(request, response, body);
      return;
    }
    if (this.uploads.serve(request, response, body)) return;
    const [, kind, name = ''] = /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
    const blob = this.#blobs.get(name) ?? this.#manifests.get(name)?.bytes;
    if (kind === 'manifests') this.#serveManifest(name, request, response);
    else if (kind === 'blobs' && blob) serveBlob(blob, request, response);
    else refuse(response, 404, 'BLOB_UNKNOWN', 'no such thing here');
  }

  /** Uploads, and manifests put in place. */
  #take(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const { pathname } = new URL(request.url ?? '', this.url);
    const [, , name = ''] = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(pathname) ?? [];
    if (request.method !== 'PUT' || name === '') {
      if (!this.uploads.serve(request, response, body)) refuse(response, 405, 'UNSUPPORTED', 'not done here');
      return;
    }
    const digest = digestOf(body);
    const mediaType = request.headers['content-type'] ?? '';
    for (const key of [name, digest]) this.#manifests.set(key, { mediaType, bytes: body });
    response.writeHead(201, { 'docker-content-digest': digest, location: `${pathname}` }).end();
  }

  #serveManifest(name: string, request: IncomingMessage, response: ServerResponse): void {
    const manifest = this.#manifests.get(name);
    if (!manifest) {
      refuse(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
      return;
    }
    response.writeHead(200, {
      'content-type': manifest.mediaType,
      'content-length': manifest.bytes.length,
      'docker-content-digest': digestOf(manifest.bytes),
    });
    response.end(request.method === 'HEAD' ? undefined : manifest.bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** What arrives until the end, or until the client is gone. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  request.on('error', () => {});
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => request.once('close', resolve));
  return Buffer.concat(chunks);
}

/** The part of a blob that a request asks for, with the headers of that answer. */
function partOf(blob: Buffer, { headers }: IncomingMessage) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
  const start = Number(from ?? 0);
  const end = to ? Math.min(Number(to) + 1, blob.length) : blob.length;
  const part = blob.subarray(start, end);
  const isWhole = part.length === blob.length && !to;
  const range = isWhole ? {} : { 'content-range': `bytes ${start}-${end - 1}/${blob.length}` };
  return { part, status: isWhole ? 200 : 206, headers: { 'content-length': part.length, ...range } };
}

function serveBlob(blob: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const { part, status, headers } = partOf(blob, request);
  response.writeHead(status, { 'content-type': 'application/octet-stream', ...headers });
  response.end(request.method === 'HEAD' ? undefined : part);
}

/** Sends the first `count` bytes of what is asked for of `bytes`, under the headers of a whole answer, and then resets the connection. */
export const resetAfter =
  (bytes: Buffer, count: number): Reply =>
  (response, request) => {
    const { part, status, headers } = partOf(bytes, request);
    response.writeHead(status, headers);
    response.write(part.subarray(0, count), () => setImmediate(() => request.socket.resetAndDestroy()));
  };
