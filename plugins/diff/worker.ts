/**
 * A worker thread that unpacks layers, several at a time if need be, a chunk of
 * one after a chunk of another. What goes wrong with one does not touch the rest.
 */
import { parentPort } from 'node:worker_threads';
import { codeOf } from '../../kernel/errors.js';
import { setThreadUmask } from '../../lib/linux/file.js';
import { readKernelFile } from '../../lib/linux/kernel-file.js';
import type { FromWorker, LayerId, ToWorker } from './messages.js';
import { Layer } from './unpack/layer.js';

/** Warnings of one layer that are passed on. */
const MOST_WARNINGS = 10;

/** False in a user namespace that does not map every id. */
const makesDevices = /^\s*0\s+0\s+4294967295\s*$/.test(readKernelFile('/proc/self/uid_map'));

interface Work {
  readonly layer: Layer;
  readonly memory: Buffer;
  /** Settles when all steps so far are done. */
  tail: Promise<void>;
  /** Steps still to come are left out. */
  isOver: boolean;
}

const works = new Map<LayerId, Work>();

const tell = (message: FromWorker): void => parentPort?.postMessage(message);

function fail(id: LayerId, error: unknown): void {
  tell({
    kind: 'failed',
    layer: id,
    code: codeOf(error),
    message: error instanceof Error ? error.message : String(error),
  });
}

function open({ layer: id, job, memory }: Extract<ToWorker, { kind: 'open' }>): void {
  let warnings = 0;
  const warn = (message: string): void => {
    if (warnings++ < MOST_WARNINGS) tell({ kind: 'warning', layer: id, message });
  };
  try {
    const layer = new Layer(job, makesDevices, warn);
    works.set(id, { layer, memory: Buffer.from(memory), tail: Promise.resolve(), isOver: false });
    tell({ kind: 'opened', layer: id });
  } catch (error) {
    fail(id, error);
  }
}

/** Ends the layer; steps of it that are still to come are left out. */
function close(id: LayerId, work: Work): void {
  works.delete(id);
  work.isOver = true;
  work.layer.close();
}

/** Does `step` behind all steps before it. */
function enqueue(id: LayerId, work: Work, step: () => Promise<void> | void): void {
  work.tail = work.tail.then(async () => {
    if (work.isOver) return;
    try {
      await step();
    } catch (error) {
      if (works.has(id)) close(id, work);
      fail(id, error);
    }
  });
}

async function finish(id: LayerId, work: Work): Promise<void> {
  await work.layer.finish();
  if (work.layer.needsLowers) tell({ kind: 'needs lowers', layer: id });
  else await conclude(id, work);
}

async function conclude(id: LayerId, work: Work): Promise<void> {
  const result = await work.layer.result();
  close(id, work);
  tell({ kind: 'done', layer: id, result });
}

/** Behind the step under way: what decompresses off this thread still calls back. */
async function abort(id: LayerId, work: Work | undefined): Promise<void> {
  if (work) {
    work.isOver = true;
    await work.tail;
    if (works.has(id)) close(id, work);
  }
  tell({ kind: 'aborted', layer: id });
}

function handle(message: ToWorker): void {
  if (message.kind === 'open') {
    open(message);
    return;
  }
  const { layer: id } = message;
  const work = works.get(id);
  if (message.kind === 'abort') void abort(id, work);
  else if (!work) return;
  else if (message.kind === 'end') enqueue(id, work, () => finish(id, work));
  else if (message.kind === 'lowers') {
    const { lowers } = message;
    enqueue(id, work, () => {
      work.layer.settle(lowers);
      return conclude(id, work);
    });
  } else {
    const { offset, length } = message;
    enqueue(id, work, async () => {
      await work.layer.push(work.memory.subarray(offset, offset + length));
      tell({ kind: 'taken', layer: id, offset });
    });
  }
}

setThreadUmask(0);
parentPort?.on('message', handle);
