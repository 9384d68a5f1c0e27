/**
 * The worker threads that unpack layers, started when first needed and ended
 * when there was nothing to do for a while: each holds some ten megabytes.
 * Idle ones do not keep the process alive. One more than the machine has
 * cores: with as many, whichever has a layer more than the rest works on alone
 * in the end (measured by bench/unpack.ts, five layers on two cores: a tenth).
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { internal, unavailable } from '../../kernel/errors.js';
import { threadPath } from '../../lib/program.js';
import { Memories } from './memories.js';
import type { FromWorker, LayerId, ToWorker } from './messages.js';
import { WorkerSink } from './sink.js';
import type { LayerJob } from './unpack/layer.js';

/** Compressed bytes that a layer counts for when it does not say. */
const USUAL_SIZE = 32 * 2 ** 20;
/** Milliseconds that a worker without layers is kept for the next one. */
const IDLE = 30_000;
/** Megabytes of heap of one worker: a hostile layer ends its worker, not the daemon. */
const HEAP = 512;
/** Megabytes of it for what is soon gone; more is no faster, and every worker takes all it may have. */
const YOUNG_HEAP = 6;
/** Layers that have bytes to come at once, for each worker: what some wait for, others have by then. */
const MEMORIES_OF_WORKER = 3;

export interface OpenLayer {
  readonly job: LayerJob;
  /** Compressed bytes to come. */
  readonly size?: number;
  readonly signal?: AbortSignal;
  /** See {@link SinkOptions}. */
  readonly lowers?: () => Promise<readonly string[] | undefined>;
  /** Called once, when nothing of the layer is open any more, also when opening fails. */
  readonly release: () => Promise<void> | void;
}

class PoolWorker {
  readonly #worker = new Worker(threadPath('diff-worker'), {
    resourceLimits: { maxOldGenerationSizeMb: HEAP, maxYoungGenerationSizeMb: YOUNG_HEAP },
  });
  readonly #sinks = new Map<LayerId, { readonly sink: WorkerSink; readonly size: number }>();
  readonly #log: Logger;
  readonly #onIdle: (worker: PoolWorker) => void;
  #cause: unknown;

  /** `onIdle` is called when its last layer is done. */
  constructor(log: Logger, onGone: (worker: PoolWorker) => void, onIdle: (worker: PoolWorker) => void) {
    this.#log = log;
    this.#onIdle = onIdle;
    this.#worker.unref();
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => {
      this.#cause = error;
    });
    this.#worker.on('exit', () => {
      onGone(this);
      const error = internal('the thread that unpacked the layer ended', { cause: this.#cause });
      for (const { sink } of [...this.#sinks.values()]) sink.fail(error);
    });
  }

  /** Compressed bytes of the layers under way. */
  get load(): number {
    return [...this.#sinks.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** `taken` is called once, when the memory is not needed any more. */
  open(layer: LayerId, options: OpenLayer, memory: SharedArrayBuffer, taken: () => void): WorkerSink {
    const { job, size = USUAL_SIZE, signal, lowers, release } = options;
    const sink = new WorkerSink(memory, {
      layer,
      tell: (message) => this.#tell(message),
      taken,
      release: () => {
        this.#forget(layer);
        return release();
      },
      ...(signal === undefined ? {} : { signal }),
      ...(lowers === undefined ? {} : { lowers }),
    });
    this.#sinks.set(layer, { sink, size });
    this.#worker.ref();
    this.#tell({ kind: 'open', layer, job, memory });
    return sink;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #forget(layer: LayerId): void {
    this.#sinks.delete(layer);
    if (this.#sinks.size > 0) return;
    this.#worker.unref();
    this.#onIdle(this);
  }

  #receive(message: FromWorker): void {
    if (message.kind === 'warning') this.#log.warn(message.message);
    else this.#sinks.get(message.layer)?.sink.receive(message);
  }
}

export class WorkerPool {
  readonly #log: Logger;
  readonly #most: number;
  readonly #idle: number;
  readonly #memories: Memories;
  readonly #workers = new Set<PoolWorker>();
  readonly #timers = new Map<PoolWorker, NodeJS.Timeout>();
  #lastLayer = 0;
  #isClosed = false;

  /** `idle`: milliseconds that a thread without layers is kept. */
  constructor(log: Logger, most = availableParallelism() + 1, idle = IDLE) {
    this.#log = log;
    this.#most = most;
    this.#idle = idle;
    this.#memories = new Memories(MEMORIES_OF_WORKER * most);
  }

  /** Begins to unpack, once there is memory for it. Throws when the target cannot be opened. */
  async open(options: OpenLayer): Promise<WorkerSink> {
    const memory = await this.#takeMemory(options);
    const worker = this.#choose();
    this.#keep(worker);
    const sink = worker.open(++this.#lastLayer, options, memory, () => this.#memories.give(memory));
    await sink.ready();
    return sink;
  }

  async #takeMemory({ signal, release }: OpenLayer): Promise<SharedArrayBuffer> {
    try {
      const memory = await this.#memories.take(signal);
      if (!this.#isClosed) return memory;
      this.#memories.give(memory);
      throw unavailable('unpacking a layer: the daemon is stopping');
    } catch (error) {
      await release();
      throw error;
    }
  }

  /** Ends all threads; layers under way fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const worker of this.#workers) this.#keep(worker);
    await Promise.all([...this.#workers].map((worker) => worker.stop()));
  }

  /** An idle worker, a new one, or the one with least to do. */
  #choose(): PoolWorker {
    const [least] = [...this.#workers].sort((a, b) => a.load - b.load);
    if (least && (least.load === 0 || this.#workers.size >= this.#most)) return least;
    const worker = new PoolWorker(
      this.#log,
      (gone) => this.#forget(gone),
      (idle) => this.#settle(idle),
    );
    this.#workers.add(worker);
    return worker;
  }

  #settle(worker: PoolWorker): void {
    if (this.#isClosed || !this.#workers.has(worker)) return;
    const end = (): void => {
      this.#forget(worker);
      void worker.stop();
    };
    this.#timers.set(worker, setTimeout(end, this.#idle).unref());
  }

  /** It is not to be ended, if it was. */
  #keep(worker: PoolWorker): void {
    clearTimeout(this.#timers.get(worker));
    this.#timers.delete(worker);
  }

  #forget(worker: PoolWorker): void {
    this.#keep(worker);
    this.#workers.delete(worker);
    if (this.#workers.size === 0) this.#memories.tidy();
  }
}
