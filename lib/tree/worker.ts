/** A worker thread that does one job on a directory tree after the other. */
import { parentPort } from 'node:worker_threads';
import { codeOf, type ErrorCode } from '../../kernel/errors.js';
import { stepsOf, type TreeJob } from './steps.js';
import type { TreeUsage } from './usage.js';

export type JobOutcome =
  | { readonly ok: true; readonly usage: TreeUsage | undefined }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

function finish(job: TreeJob): JobOutcome {
  try {
    const steps = stepsOf(job);
    for (;;) {
      const step = steps.next();
      if (step.done) return { ok: true, usage: step.value };
    }
  } catch (error) {
    return { ok: false, code: codeOf(error), message: error instanceof Error ? error.message : String(error) };
  }
}

const port = parentPort;
port?.on('message', (job: TreeJob) => port.postMessage(finish(job)));
