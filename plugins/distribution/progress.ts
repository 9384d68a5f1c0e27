/** What has become of each part of one pull, told to the caller as it happens. */
import type { PullProgress } from '../../kernel/contracts/distribution.js';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { ingestRef } from '../../lib/oci/media-types.js';

/** Milliseconds between two reports of the same part's bytes. */
const PACE = 100;

/** What happens to a blob, wherever it happens. */
export type BlobEvent =
  | { readonly kind: 'downloading' | 'extracting'; readonly bytes: number }
  | { readonly kind: 'complete' | 'already exists' | 'extracted' };

type Listener = (progress: PullProgress) => void;

export class ProgressBoard {
  readonly #image: string;
  readonly #listener: Listener | undefined;
  readonly #parents = new Map<string, readonly string[]>();
  readonly #lastBytes = new Map<string, number>();
  /** Digests whose bytes are here. */
  readonly #fetched = new Set<string>();
  readonly #extracted = new Set<string>();

  constructor(image: string, listener: Listener | undefined) {
    this.#image = image;
    this.#listener = listener;
  }

  /** A sentence about the whole. */
  say(event: string): void {
    this.#listener?.({ event, name: '', parents: [], progress: 0, total: 0 });
  }

  saved(name: string, descriptor: Descriptor): void {
    this.#listener?.({ event: 'saved', name, parents: [], progress: 0, total: 0, descriptor });
  }

  /** Announces a part before anything happens to it. */
  add(descriptor: Descriptor, parent?: Descriptor): void {
    if (this.#parents.has(descriptor.digest)) return;
    this.#parents.set(descriptor.digest, [parent ? ingestRef(parent) : this.#image]);
    this.#emit(descriptor, 'waiting', 0);
  }

  event(descriptor: Descriptor, event: BlobEvent): void {
    const { digest, size } = descriptor;
    switch (event.kind) {
      case 'downloading':
        if (this.#isDue(descriptor, event.bytes)) this.#emit(descriptor, event.kind, event.bytes);
        return;
      case 'extracting':
        // While the download goes on, it is what one waits for.
        if (this.#fetched.has(digest) && this.#isDue(descriptor, event.bytes)) {
          this.#emit(descriptor, event.kind, event.bytes);
        }
        return;
      case 'extracted':
        this.#once(this.#extracted, descriptor, event.kind, size);
        return;
      default:
        this.#once(this.#fetched, descriptor, event.kind, size);
    }
  }

  #once(done: Set<string>, descriptor: Descriptor, event: string, progress: number): void {
    if (done.has(descriptor.digest)) return;
    done.add(descriptor.digest);
    this.#emit(descriptor, event, progress);
  }

  #isDue({ digest, size }: Descriptor, bytes: number): boolean {
    const now = performance.now();
    if (bytes < size && now - (this.#lastBytes.get(digest) ?? Number.NEGATIVE_INFINITY) < PACE) return false;
    this.#lastBytes.set(digest, now);
    return true;
  }

  #emit(descriptor: Descriptor, event: string, progress: number): void {
    this.#listener?.({
      event,
      name: ingestRef(descriptor),
      parents: this.#parents.get(descriptor.digest) ?? [this.#image],
      progress,
      total: descriptor.size,
      descriptor,
    });
  }
}
