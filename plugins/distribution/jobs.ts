/** Runs calls under leases of their own, and releases those when nothing needs them any more. */
import type { Logger } from 'pino';
import type { Leases } from '../../kernel/contracts/leases.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { canceled, hasCode } from '../../kernel/errors.js';
import { type BlobOrigin, type Job, leaseLabels } from './job.js';
import type { Source } from './labels.js';
import type { ProgressBoard } from './progress.js';

export interface NewJob {
  /** For messages: `the pull of "..."`. */
  readonly what: string;
  readonly scope: Scope;
  readonly origin: BlobOrigin;
  readonly source: Source | undefined;
  readonly board: ProgressBoard;
  /** Whether blobs of layers that are unpacked are not asked for. */
  readonly discards: boolean;
}

export class Jobs {
  readonly #leases: Leases;
  readonly #log: Logger;
  /** What outlives the calls that began it. */
  readonly #afterwards = new Set<Promise<unknown>>();
  readonly #stopping = new AbortController();

  constructor(leases: Leases, log: Logger) {
    this.#leases = leases;
    this.#log = log;
  }

  /** Cancels what runs and resolves when all of it has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([...this.#afterwards]);
  }

  /** Aborts with the caller, or when everything stops. */
  signal(scope: Scope): AbortSignal {
    const stopping = this.#stopping.signal;
    return scope.signal ? AbortSignal.any([scope.signal, stopping]) : stopping;
  }

  /** Runs a call with what it gets bytes from and a lease; closes the origin in any case. */
  async run<T>(
    { what, scope, origin, source, board, discards }: NewJob,
    work: (job: Job, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = this.signal(scope);
    if (signal.aborted) throw canceled(`${what} was cancelled`, { cause: signal.reason });
    const { namespace } = scope;
    const lease = await this.#leases.create({ namespace }, { labels: leaseLabels(Date.now()) });
    const borrowed = new Set<Promise<unknown>>();
    const job: Job = {
      scope: { namespace, lease: lease.id },
      leases: this.#leases,
      origin,
      board,
      discards,
      source,
      keepUntil(settled) {
        borrowed.add(settled);
        const returned = () => void borrowed.delete(settled);
        settled.then(returned, returned);
      },
    };
    try {
      return await work(job, signal);
    } finally {
      const released = this.#release(job, borrowed);
      // Others may still be using what this call began; it does not wait for them.
      if (borrowed.size === 0) await released;
    }
  }

  /** Runs work while a lease holds what already exists, so that no collection takes parts of it meanwhile. */
  async holding<T>(
    { namespace }: Scope,
    targets: readonly Descriptor[],
    work: (scope: Scope & { readonly lease: string }) => Promise<T>,
  ): Promise<T> {
    const lease = await this.#hold({ namespace }, targets);
    try {
      return await work({ namespace, lease });
    } finally {
      await this.#endLease({ namespace }, lease);
    }
  }

  /** As {@link holding}, for work that hands out its result piece by piece. */
  async *holdingStream<T>(
    { namespace }: Scope,
    targets: readonly Descriptor[],
    work: (scope: Scope & { readonly lease: string }) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, void> {
    const lease = await this.#hold({ namespace }, targets);
    try {
      yield* work({ namespace, lease });
    } finally {
      await this.#endLease({ namespace }, lease);
    }
  }

  async #hold(scope: Scope, targets: readonly Descriptor[]): Promise<string> {
    const { id } = await this.#leases.create(scope, { labels: leaseLabels(Date.now()) });
    for (const { digest } of targets) await this.#leases.addResource(scope, id, { type: 'content', id: digest });
    return id;
  }

  /** Adds the results to the caller's own lease; what they refer to is held through them. */
  async handOver({ namespace, lease }: Scope, root: Descriptor, names: readonly string[]): Promise<void> {
    if (lease === undefined) return;
    await this.#leases.addResource({ namespace }, lease, { type: 'content', id: root.digest });
    for (const name of names) await this.#leases.addResource({ namespace }, lease, { type: 'images', id: name });
  }

  #release({ origin, scope }: Job, borrowed: ReadonlySet<Promise<unknown>>): Promise<void> {
    const release = async (): Promise<void> => {
      await Promise.allSettled([...borrowed]);
      origin.close();
      await this.#endLease({ namespace: scope.namespace }, scope.lease);
    };
    const released = release().catch((error: unknown) => {
      this.#log.warn({ err: error, lease: scope.lease }, 'the lease of a pull stays until it expires');
    });
    this.#afterwards.add(released);
    void released.then(() => this.#afterwards.delete(released));
    return released;
  }

  async #endLease(scope: Scope, id: string): Promise<void> {
    try {
      await this.#leases.delete(scope, id);
    } catch (error) {
      // Deleted by a client.
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }
}
