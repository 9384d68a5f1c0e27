/** A layer on its way through a stream processor to where it is unpacked, or to the next processor. */
import type { Hash } from 'node:crypto';
import type { AppliedLayer, LayerSink } from '../../kernel/contracts/diff.js';
import { canceled, deadlineExceeded, failedPrecondition } from '../../kernel/errors.js';
import { formatDigest, hasher, parseDigest } from '../../lib/digest.js';
import type { FilterProgram } from './filter-program.js';

export interface ProcessorSinkOptions {
  /** Of the processor, for messages. */
  readonly id: string;
  readonly program: FilterProgram;
  /** What takes its output. */
  readonly next: LayerSink;
  /** Milliseconds that the program may be waited for without a byte coming or going. */
  readonly patience: number;
  /** Digest of the bytes that come in, when known. */
  readonly digest?: string;
  readonly signal?: AbortSignal;
}

/** Control characters could rewrite what a terminal shows. */
const clean = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();

export class ProcessorSink implements LayerSink {
  readonly #options: ProcessorSinkOptions;
  readonly #hash: Hash | undefined;
  /** Settles when the program's output has ended and been passed on. */
  readonly #passed: Promise<void>;
  readonly #onAbort = (): void => void this.abort();
  #failure: unknown;
  #isGiving = false;
  #isPassing = false;
  #isEnded = false;
  #over: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProcessorSinkOptions) {
    const { digest, signal } = options;
    this.#options = options;
    this.#hash = digest === undefined ? undefined : hasher(parseDigest(digest).algorithm);
    this.#passed = this.#pass();
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (signal?.aborted) this.#onAbort();
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#throwFailure();
    if (this.#isEnded) throw failedPrecondition('bytes after the end of a layer');
    this.#hash?.update(chunk);
    this.#isGiving = true;
    this.#measure();
    await this.#options.program.give(chunk);
    this.#isGiving = false;
    this.#measure();
    this.#throwFailure();
  }

  async end(): Promise<AppliedLayer> {
    this.#throwFailure();
    this.#isEnded = true;
    this.#options.program.finish();
    this.#measure();
    await this.#passed;
    const { exitStatus, said } = await this.#options.program.ended();
    clearTimeout(this.#timer);
    this.#throwFailure();
    this.#verify();
    if (exitStatus !== 0) throw this.#failed(exitStatus, said);
    return this.#options.next.end();
  }

  abort(): Promise<void> {
    this.#failure ??= canceled('unpacking the layer was stopped');
    this.#over ??= this.#release();
    return this.#over;
  }

  async #release(): Promise<void> {
    const { program, next, signal } = this.#options;
    clearTimeout(this.#timer);
    signal?.removeEventListener('abort', this.#onAbort);
    await program.kill();
    await next.abort();
    await this.#passed;
  }

  /** Never rejects: what goes wrong is thrown by the next call. */
  async #pass(): Promise<void> {
    const { program, next } = this.#options;
    try {
      for await (const chunk of program.output) {
        this.#isPassing = true;
        this.#measure();
        await next.write(chunk);
        this.#isPassing = false;
        this.#measure();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Begins to wait anew, as long as it is the program that is waited for. */
  #measure(): void {
    clearTimeout(this.#timer);
    const owes = (this.#isGiving || this.#isEnded) && !this.#isPassing && this.#failure === undefined;
    if (!owes) return;
    const { id, patience } = this.#options;
    const message = `stream processor "${id}" did nothing for ${patience / 1000} s`;
    const late = () => this.#fail(deadlineExceeded(message, { remedy: 'see why, or raise stream_processor_timeout' }));
    this.#timer = setTimeout(late, patience);
  }

  /** Whoever waits for the program goes on when it is gone. */
  #fail(error: unknown): void {
    this.#failure ??= error;
    clearTimeout(this.#timer);
    void this.#options.program.kill();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #verify(): void {
    const { digest } = this.#options;
    if (!this.#hash || digest === undefined) return;
    const found = formatDigest(parseDigest(digest).algorithm, this.#hash.digest('hex'));
    if (found !== digest) throw failedPrecondition(`the layer "${digest}" has the digest "${found}"`);
  }

  #failed(exitStatus: number, said: string): Error {
    const reason = clean(said);
    return failedPrecondition(
      `stream processor "${this.#options.id}" ended with status ${exitStatus}${reason === '' ? '' : `: ${reason}`}`,
      { remedy: 'see the settings of that stream processor, and what it needs' },
    );
  }
}
