/** One call as its handler sees it: metadata, scope and a signal that says when to stop. */
import type { Deadline } from '@grpc/grpc-js';
import { canceled, deadlineExceeded, failedPrecondition, type KeelsonError } from '../../kernel/errors.js';
import { checkIdentifier } from '../../lib/identifier.js';
import type { Call } from '../../lib/rpc/definition.js';

const NAMESPACE = 'containerd-namespace';
const LEASE = 'containerd-lease';

/** What calls of all kinds have. */
export interface Surface {
  /** First value of a key of the request's metadata, in lower case. */
  header(key: string): string | undefined;
  getDeadline(): Deadline;
  /** Also called after a call has ended by itself. */
  onCancelled(listener: () => void): void;
}

export class ServerCall implements Call {
  /** Service and method: `/containerd.services.version.v1.Version/Version`. */
  readonly path: string;
  /** Whether more than one message may come back. */
  readonly streams: boolean;
  readonly #surface: Surface;
  readonly #controller = new AbortController();
  readonly #end = Promise.withResolvers<void>();
  #settled = false;

  constructor(path: string, streams: boolean, surface: Surface) {
    this.path = path;
    this.streams = streams;
    this.#surface = surface;
    surface.onCancelled(() => {
      if (!this.#settled) this.abort(this.#endedByPeer());
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  metadata(key: string): string | undefined {
    return this.#surface.header(key);
  }

  scope(): { readonly namespace: string; readonly lease?: string; readonly signal: AbortSignal } {
    const namespace = this.metadata(NAMESPACE);
    if (!namespace) throw failedPrecondition('namespace is required', { remedy: `set the metadata "${NAMESPACE}"` });
    checkIdentifier(namespace, 'namespace');
    const lease = this.metadata(LEASE);
    return lease ? { namespace, lease, signal: this.signal } : { namespace, signal: this.signal };
  }

  /** Tells the handler to stop; the reason is what it should throw. */
  abort(reason: KeelsonError): void {
    if (!this.#settled) this.#controller.abort(reason);
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** The handler is done: what happens to the call now is no news to it. */
  settle(): void {
    this.#settled = true;
    this.#end.resolve();
  }

  /** Resolves once the handler is done. */
  get ended(): Promise<void> {
    return this.#end.promise;
  }

  #endedByPeer(): KeelsonError {
    return Number(this.#surface.getDeadline()) <= Date.now()
      ? deadlineExceeded('the deadline of the call has passed')
      : canceled('the caller went away');
  }
}
