/**
 * Work on directory trees without holding up the event loop: what is done in
 * a moment is done at once, the rest in worker threads, which are started when
 * first needed and kept. They do not keep the process alive when idle.
 */
import { Worker } from 'node:worker_threads';
import { internal, KeelsonError } from '../../kernel/errors.js';
import { threadPath } from '../program.js';
import { stepsOf, type TreeJob } from './steps.js';
import type { TreeUsage } from './usage.js';
import type { JobOutcome } from './worker.js';

export type { TreeUsage } from './usage.js';

/** Milliseconds that a job may take of the event loop: enough for hundreds of files, far less than a thread's start. */
const AT_ONCE = 4;
/** Two, so that one long copy does not hold up everything else. */
const THREADS = 2;
/** Megabytes of heap of one thread for what is soon gone; it takes all it may have. */
const YOUNG_HEAP = 6;

interface Waiting {
  readonly job: TreeJob;
  readonly resolve: (usage: TreeUsage | undefined) => void;
  readonly reject: (error: unknown) => void;
}

const queue: Waiting[] = [];
const idle: Thread[] = [];
let started = 0;

/** A worker thread with the job it is doing. */
class Thread {
  readonly #worker = new Worker(threadPath('tree-worker'), {
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_HEAP },
  });
  #doing: Waiting | undefined;

  constructor() {
    started += 1;
    this.#worker.unref();
    this.#worker.on('message', (outcome: JobOutcome) => this.#finish(outcome));
    this.#worker.on('error', (cause) => this.#die(cause));
  }

  do(waiting: Waiting): void {
    this.#doing = waiting;
    this.#worker.ref();
    this.#worker.postMessage(waiting.job);
  }

  #finish(outcome: JobOutcome): void {
    const { resolve, reject } = this.#stop();
    if (outcome.ok) resolve(outcome.usage);
    else reject(new KeelsonError(outcome.code, outcome.message));
    idle.push(this);
    dispatch();
  }

  #die(cause: unknown): void {
    started -= 1;
    const { job, reject } = this.#stop();
    reject(internal(`the thread that was to ${job.kind} a directory tree failed`, { cause }));
    dispatch();
  }

  #stop(): Waiting {
    const waiting = this.#doing;
    if (waiting === undefined) throw internal('a thread for directory trees answered without a job');
    this.#doing = undefined;
    this.#worker.unref();
    return waiting;
  }
}

function dispatch(): void {
  while (queue.length > 0) {
    const thread = idle.pop() ?? (started < THREADS ? new Thread() : undefined);
    if (thread === undefined) return;
    const waiting = queue.shift();
    if (waiting) thread.do(waiting);
  }
}

const inThread = (job: TreeJob): Promise<TreeUsage | undefined> =>
  new Promise((resolve, reject) => {
    queue.push({ job, resolve, reject });
    dispatch();
  });

/** The result, or undefined when the job could not be finished in a moment. */
function atOnce(job: TreeJob): { readonly usage: TreeUsage | undefined } | undefined {
  const steps = stepsOf(job);
  const end = performance.now() + AT_ONCE;
  do {
    const step = steps.next();
    if (step.done) return { usage: step.value };
  } while (performance.now() < end);
  steps.return(undefined);
  return undefined;
}

async function measure(job: TreeJob & { readonly root: string }): Promise<TreeUsage> {
  const usage = (atOnce(job) ?? { usage: await inThread(job) }).usage;
  if (usage === undefined) throw internal(`measuring "${job.root}" gave no result`);
  return usage;
}

/**
 * Bytes and inodes that the tree takes on disk, as du(1) counts them: a file
 * with several names once, what is mounted inside not at all.
 */
export const measureTree = (root: string): Promise<TreeUsage> => measure({ kind: 'measure', root });

/**
 * As {@link measureTree}, of what changed since the tree was made as a snapshot of `base` by a
 * filesystem that keeps inode numbers and change times in snapshots. The root is not counted.
 */
export const measureChanges = (root: string, base: string): Promise<TreeUsage> =>
  measure({ kind: 'measure changes of', root, base });

/**
 * Removes the tree; one that is not there is fine. FAILED_PRECONDITION, with
 * everything else removed, when something is mounted inside it. `apart`: in a
 * thread from the start, since it is one of many.
 */
export async function removeTree(root: string, apart = false): Promise<void> {
  const job = { kind: 'remove', root } as const;
  if (apart || atOnce(job) === undefined) await inThread(job);
}

/**
 * Copies what the directory `from` holds, and its own attributes, into the empty
 * directory `to`: kinds, contents with their holes, owners, modes, times, extended
 * attributes, links among the files. `from` must not change meanwhile.
 */
export async function copyTree(from: string, to: string): Promise<void> {
  await inThread({ kind: 'copy', from, to });
}
