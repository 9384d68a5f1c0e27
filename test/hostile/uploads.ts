/** How a scripted registry takes blobs (distribution spec, "Push"). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { digestOf } from '../../lib/digest.js';
import { refuse } from './refuse.js';

export class Uploads {
  readonly #blobs: Map<string, Buffer>;
  readonly #open = new Map<string, Buffer>();
  #next = 1;
  /** What a blob may be mounted from: `repository digest`. */
  readonly mountable = new Set<string>();

  constructor(blobs: Map<string, Buffer>) {
    this.#blobs = blobs;
  }

  blob(digest: string): Buffer | undefined {
    return this.#blobs.get(digest);
  }

  /** Makes an upload believe that it has received bytes. */
  receive(id: string, bytes: Buffer): void {
    this.#open.set(id, Buffer.concat([this.#open.get(id) ?? Buffer.alloc(0), bytes]));
  }

  /** False when the request is about something else. */
  serve(request: IncomingMessage, response: ServerResponse, body: Buffer): boolean {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://registry');
    const [, repository, id] = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/.exec(pathname) ?? [];
    if (repository === undefined || id === undefined) return false;
    if (request.method === 'POST') this.#begin(repository, searchParams, response);
    else if (!this.#open.has(id)) refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload');
    else if (request.method === 'PATCH') this.#patch(repository, id, request, response, body);
    else if (request.method === 'PUT') this.#finish(id, searchParams, response, body);
    else this.#status(repository, id, response, 204);
    return true;
  }

  #begin(repository: string, query: URLSearchParams, response: ServerResponse): void {
    const digest = query.get('mount') ?? '';
    const bytes = this.#blobs.get(digest);
    if (bytes && this.mountable.has(`${query.get('from')} ${digest}`)) {
      response.writeHead(201, { 'docker-content-digest': digest, location: '/' }).end();
      return;
    }
    const id = `u${this.#next++}`;
    this.#open.set(id, Buffer.alloc(0));
    this.#status(repository, id, response, 202);
  }

  #patch(repository: string, id: string, request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const held = this.#open.get(id)?.length ?? 0;
    const range = request.headers['content-range'];
    if (range !== undefined && range !== `${held}-${held + body.length - 1}`) {
      response.writeHead(416, { range: `0-${Math.max(0, held - 1)}` }).end();
      return;
    }
    this.receive(id, body);
    this.#status(repository, id, response, 202);
  }

  #finish(id: string, query: URLSearchParams, response: ServerResponse, body: Buffer): void {
    this.receive(id, body);
    const bytes = this.#open.get(id) ?? Buffer.alloc(0);
    const digest = digestOf(bytes);
    this.#open.delete(id);
    if (digest !== query.get('digest')) {
      refuse(response, 400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
      return;
    }
    this.#blobs.set(digest, bytes);
    response.writeHead(201, { 'docker-content-digest': digest, location: `/blobs/${digest}` }).end();
  }

  #status(repository: string, id: string, response: ServerResponse, status: number): void {
    const length = this.#open.get(id)?.length ?? 0;
    response.writeHead(status, {
      location: `/v2/${repository}/blobs/uploads/${id}?_state=a%2Fb`,
      range: `0-${Math.max(0, length - 1)}`,
    });
    response.end();
  }
}
