/** One blob on its way to a registry, over as many attempts as it takes. */
import { LATER, RegistryFailure } from './failure.js';
import type { HostAnswer } from './host-client.js';
import type { PushSession } from './push-session.js';
import { checkDigest, type PushedBlob, type PushOutcome } from './pushed.js';

/** Bytes of a chunk after a request with the whole blob has broken; all registries take as many. */
const CHUNK = 8 * 1024 * 1024;
/** Answers of a registry that takes blobs in one request only. */
const REFUSED_CHUNK = [400, 404, 405, 411, 413, 416, 501];

/** An upload that the registry has opened. */
interface OpenUpload {
  readonly url: URL;
  /** Bytes that the registry has. */
  readonly offset: number;
}

export class BlobUpload {
  readonly #session: PushSession;
  readonly #blob: PushedBlob;
  readonly #doing: string;
  /** Bytes of a chunk; 0: the whole blob in one request. */
  #chunk: number;
  #chunksRefused = false;
  #open: OpenUpload | undefined;
  /** The repositories that are still to be asked. */
  readonly #mounts: string[];

  constructor(session: PushSession, blob: PushedBlob, chunk: number) {
    this.#session = session;
    this.#blob = blob;
    this.#doing = session.doing(`pushing "${blob.descriptor.digest}"`);
    this.#chunk = chunk > 0 && blob.descriptor.size > chunk ? chunk : 0;
    this.#mounts = [...blob.mountFrom];
  }

  /** One try; goes on where an earlier one in chunks was interrupted. */
  async attempt({ progressed }: { progressed(): void }, signal: AbortSignal): Promise<PushOutcome> {
    if (this.#open) await this.#askOffset(signal);
    if (!this.#open) {
      if (await this.#exists(signal)) return 'exists';
      if (!(await this.#begin(signal))) return 'mounted';
    }
    await (this.#chunk > 0 ? this.#sendChunks(progressed, signal) : this.#sendWhole(signal));
    return 'uploaded';
  }

  async #exists(signal: AbortSignal): Promise<boolean> {
    const { digest } = this.#blob.descriptor;
    const answer = await this.#session.request({ method: 'HEAD', path: `blobs/${digest}`, signal });
    if (answer.status !== 200 && answer.status !== 404) throw await this.#session.host.failure(this.#doing, answer);
    await this.#session.host.drop(answer);
    return answer.status === 200;
  }

  /** Opens an upload; false when the registry had the blob in another repository and has mounted it. */
  async #begin(signal: AbortSignal): Promise<boolean> {
    const { digest } = this.#blob.descriptor;
    const from = this.#mounts.shift();
    const query = from === undefined ? {} : { query: { mount: digest, from } };
    const answer = await this.#session.request({ method: 'POST', path: 'blobs/uploads/', signal, ...query });
    if (answer.status === 201 && from !== undefined) {
      await this.#session.host.drop(answer);
      return false;
    }
    if (answer.status !== 202) {
      // A repository we may not read is as good as one that does not have it.
      if (from !== undefined && (answer.status === 401 || answer.status === 403 || answer.status === 404)) {
        await this.#session.host.drop(answer);
        return this.#begin(signal);
      }
      throw await this.#session.host.failure(this.#doing, answer);
    }
    this.#open = { url: this.#session.host.location(answer), offset: 0 };
    const least = Number(answer.response.headers['oci-chunk-min-length'] ?? 0);
    if (this.#chunk > 0 && least > this.#chunk && least < 2 ** 40) this.#chunk = least;
    await this.#session.host.drop(answer);
    return true;
  }

  async #sendWhole(signal: AbortSignal): Promise<void> {
    const { descriptor } = this.#blob;
    const url = this.#open?.url;
    this.#open = undefined;
    try {
      await this.#finish(url, { offset: 0, length: descriptor.size }, signal);
    } catch (error) {
      const again = error instanceof RegistryFailure && error.retry.kind === 'later';
      if (again && !this.#chunksRefused && descriptor.size > CHUNK) this.#chunk = CHUNK;
      throw error;
    }
  }

  async #sendChunks(progressed: () => void, signal: AbortSignal): Promise<void> {
    const { size } = this.#blob.descriptor;
    while (this.#open && this.#open.offset < size) {
      const { offset } = this.#open;
      await this.#sendChunk(this.#open, Math.min(this.#chunk, size - offset), signal);
      progressed();
    }
    const url = this.#open?.url;
    this.#open = undefined;
    await this.#finish(url, { offset: size, length: 0 }, signal);
  }

  async #sendChunk({ url, offset }: OpenUpload, length: number, signal: AbortSignal): Promise<void> {
    const answer = await this.#session.request({
      method: 'PATCH',
      path: url,
      headers: {
        'content-type': 'application/octet-stream',
        'content-range': `${offset}-${offset + length - 1}`,
      },
      body: this.#body(offset, length),
      signal,
    });
    if (answer.status === 202) {
      this.#open = { url: this.#session.host.location(answer), offset: offset + length };
      await this.#session.host.drop(answer);
      return;
    }
    const failure = await this.#session.host.failure(this.#doing, answer);
    if (offset > 0 || !REFUSED_CHUNK.includes(answer.status)) throw failure;
    this.#chunk = 0;
    this.#chunksRefused = true;
    this.#open = undefined;
    throw new RegistryFailure(failure.code, failure.message, { retry: LATER });
  }

  /** The last request of an upload, with all bytes that are left. */
  async #finish(url: URL | undefined, { offset, length }: Extent, signal: AbortSignal): Promise<void> {
    if (!url) throw new RegistryFailure('UNAVAILABLE', `${this.#doing}: the upload was lost`, { retry: LATER });
    const { digest } = this.#blob.descriptor;
    const answer = await this.#session.request({
      method: 'PUT',
      path: url,
      query: { digest },
      headers: { 'content-type': 'application/octet-stream' },
      body: this.#body(offset, length),
      signal,
    });
    if (answer.status !== 201 && answer.status !== 204) throw await this.#session.host.failure(this.#doing, answer);
    checkDigest(this.#doing, answer.response, digest);
    await this.#session.host.drop(answer);
  }

  /** What the registry has of an interrupted upload; forgets the upload when the registry did. */
  async #askOffset(signal: AbortSignal): Promise<void> {
    const open = this.#open;
    if (!open) return;
    const answer = await this.#session.request({ method: 'GET', path: open.url, signal });
    await this.#session.host.drop(answer);
    const offset = answer.status === 204 ? receivedOf(answer) : undefined;
    // "0-0" is said of nothing and of one byte: such an upload is begun anew.
    if (offset === undefined || offset <= 1 || offset > this.#blob.descriptor.size) {
      this.#open = undefined;
      return;
    }
    const { location } = answer.response.headers;
    this.#open = { url: location === undefined ? open.url : this.#session.host.location(answer), offset };
  }

  #body(offset: number, length: number) {
    const blob = this.#blob;
    return {
      size: length,
      async *open() {
        let sent = offset;
        for await (const chunk of blob.read(offset, length)) {
          yield chunk;
          sent += chunk.length;
          blob.sent?.(sent);
        }
      },
    };
  }
}

interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** `Range: 0-99` says that a hundred bytes have arrived. */
function receivedOf({ response }: HostAnswer): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.headers.range ?? '')?.[1];
  return last === undefined ? undefined : Number(last) + 1;
}
