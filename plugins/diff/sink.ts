/** The main thread's end of a layer that a worker unpacks: hands over bytes, a bounded number at a time. */
import type { AppliedLayer, LayerSink } from '../../kernel/contracts/diff.js';
import { canceled, failedPrecondition, internal, KeelsonError } from '../../kernel/errors.js';
import type { FromWorker, LayerId, ToWorker } from './messages.js';

/** Compressed bytes handed over at a time, and how often before the worker has to have taken some. */
const SLAB = 256 * 1024;
const SLABS = 8;

export interface SinkOptions {
  readonly layer: LayerId;
  readonly tell: (message: ToWorker) => void;
  /** Called once, when the worker has taken all bytes, or will not any more: the memory is free. */
  readonly taken: () => void;
  /** Called once, when the worker has nothing of the layer open any more. */
  readonly release: () => Promise<void> | void;
  /** The directories of the layers below, asked for when the layer turns out to need them. */
  readonly lowers?: () => Promise<readonly string[] | undefined>;
  readonly signal?: AbortSignal;
}

export const newMemory = (): SharedArrayBuffer => new SharedArrayBuffer(SLAB * SLABS);

export class WorkerSink implements LayerSink {
  readonly #options: SinkOptions;
  readonly #memory: Uint8Array;
  readonly #free: number[] = Array.from({ length: SLABS }, (_, index) => index * SLAB);
  /** The slab being filled. */
  #offset: number | undefined;
  #filled = 0;
  #failure: KeelsonError | undefined;
  readonly #wake = new Set<() => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<AppliedLayer | undefined>();
  #isEnded = false;
  #isAborted = false;
  #isFinished = false;
  #isTaken = false;
  readonly #onAbort = (): void => void this.abort();

  constructor(memory: SharedArrayBuffer, options: SinkOptions) {
    this.#memory = new Uint8Array(memory);
    this.#options = options;
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted) this.#onAbort();
  }

  /** Settles when the worker has opened the target, or could not. */
  async ready(): Promise<void> {
    await this.#ready.promise;
    this.#throwFailure();
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#isEnded) throw failedPrecondition('bytes after the end of a layer');
    for (let at = 0; at < chunk.length; ) {
      this.#throwFailure();
      this.#offset ??= this.#free.pop();
      if (this.#offset === undefined) {
        await new Promise<void>((resolve) => this.#wake.add(resolve));
        continue;
      }
      const length = Math.min(SLAB - this.#filled, chunk.length - at);
      this.#memory.set(chunk.subarray(at, at + length), this.#offset + this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === SLAB) this.#send();
    }
    this.#sendIfIdle();
    this.#throwFailure();
  }

  async end(): Promise<AppliedLayer> {
    this.#throwFailure();
    if (this.#isEnded) throw failedPrecondition('the end of a layer that has ended');
    this.#isEnded = true;
    this.#send();
    this.#options.tell({ kind: 'end', layer: this.#options.layer });
    this.#letGoIfTaken();
    const result = await this.#over.promise;
    this.#throwFailure();
    if (!result) throw canceled('unpacking the layer was stopped');
    return result;
  }

  async abort(): Promise<void> {
    if (!this.#isAborted) {
      this.#isAborted = true;
      this.#failure ??= canceled('unpacking the layer was stopped');
      this.#wakeAll();
      this.#options.tell({ kind: 'abort', layer: this.#options.layer });
    }
    await this.#over.promise;
  }

  /** What the worker says about this layer. */
  receive(message: FromWorker): void {
    switch (message.kind) {
      case 'opened':
        this.#ready.resolve();
        break;
      case 'taken':
        this.#free.push(message.offset);
        this.#sendIfIdle();
        this.#letGoIfTaken();
        this.#wakeAll();
        break;
      case 'needs lowers':
        void this.#tellLowers();
        break;
      case 'done':
        void this.#finish(message.result);
        break;
      case 'failed':
        this.fail(new KeelsonError(message.code, message.message));
        break;
      case 'aborted':
        void this.#finish(undefined);
        break;
    }
  }

  async #tellLowers(): Promise<void> {
    const { layer, lowers, tell } = this.#options;
    try {
      tell({ kind: 'lowers', layer, lowers: await lowers?.() });
    } catch (error) {
      this.#failure ??=
        error instanceof KeelsonError ? error : internal('the layers below cannot be told', { cause: error });
      await this.abort();
    }
  }

  /** The worker has given the layer up, or is gone. */
  fail(error: KeelsonError): void {
    this.#failure ??= error;
    void this.#finish(undefined);
  }

  async #finish(result: AppliedLayer | undefined): Promise<void> {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#isAborted = true;
    this.#letGo();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    try {
      await this.#options.release();
    } catch (error) {
      this.#failure ??= internal('what the layer was unpacked into cannot be released', { cause: error });
    }
    this.#ready.resolve();
    this.#over.resolve(result);
    this.#wakeAll();
  }

  /** The rest of it, such as the layers below it, may be long in coming. */
  #letGoIfTaken(): void {
    if (this.#isEnded && this.#free.length === SLABS) this.#letGo();
  }

  #letGo(): void {
    if (this.#isTaken) return;
    this.#isTaken = true;
    this.#options.taken();
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure;
  }

  #wakeAll(): void {
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }

  /** A slab that is not full goes too when the worker has nothing to do. */
  #sendIfIdle(): void {
    const isIdle = this.#free.length === SLABS - 1;
    if (isIdle && this.#filled > 0) this.#send();
  }

  #send(): void {
    if (this.#offset === undefined || this.#filled === 0) return;
    this.#options.tell({ kind: 'chunk', layer: this.#options.layer, offset: this.#offset, length: this.#filled });
    this.#offset = undefined;
    this.#filled = 0;
  }
}
