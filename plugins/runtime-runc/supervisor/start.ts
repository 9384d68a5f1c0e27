/**
 * Starting a container that runc has made, without running runc once more, a
 * tenth of what a short container takes. Its init process waits until somebody
 * opens a FIFO in runc's directory of the container; then it writes a byte and
 * becomes the container's program. `runc start` is who opens it, and removes
 * it: to runc, a container without it has been started.
 */
import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { deadlineExceeded, failedPrecondition } from '../../../kernel/errors.js';
import { failpoint } from '../../../lib/failpoint.js';
import { isReadable, watchReadable } from '../../../lib/linux/poll.js';
import { argumentsOf } from './makers.js';
import type { OciRuntime } from './oci-runtime.js';
import type { SpecFacts } from './spec.js';

export interface Made {
  readonly id: string;
  readonly spec: SpecFacts;
  readonly runtime: OciRuntime;
  /** Resolves once its init process has ended. */
  readonly over: Promise<void>;
}

/** Starts what the runtime has made. Everything that is not plain is left to the runtime. */
export async function startMade(made: Made): Promise<void> {
  const { id, spec, runtime } = made;
  const gate = spec.startsByRuntime ? undefined : runtime.gateOf(id);
  if (gate === undefined) return runtime.start(id);
  await open(gate, made);
}

async function open(gate: string, { id, runtime, over }: Made): Promise<void> {
  const fd = openSync(gate, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const inTime = await written(fd, over, runtime.deadline);
    // A short program may have ended by now: what its init process wrote is still there.
    if (!isReadable(fd)) {
      if (inTime) throw failedPrecondition(`container "${id}" ended before it was started`);
      throw deadlineExceeded(`container "${id}" did not start within ${runtime.deadline} ms`);
    }
    failpoint('task.start');
    rmSync(gate, { force: true });
  } finally {
    closeSync(fd);
  }
}

/** Resolves with the first byte, or the end of the process; false when neither comes within the deadline. */
function written(fd: number, over: Promise<void>, deadline: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (inTime: boolean): void => {
      clearTimeout(timer);
      watch.close();
      resolve(inTime);
    };
    const timer = setTimeout(() => settle(false), deadline);
    const watch = watchReadable(fd, () => settle(true));
    void over.then(() => settle(true));
  });
}

const isInit = (pid: number): boolean => argumentsOf(pid)[1] === 'init';

/** Whether the container still waits to be started. The runtime knows, unless a supervisor died at {@link startMade}. */
export async function isWaiting(runtime: OciRuntime, id: string, pid: number): Promise<boolean> {
  if ((await runtime.status(id)) !== 'created') return false;
  const gate = runtime.gateOf(id);
  if (gate === undefined || isInit(pid)) return true;
  rmSync(gate, { force: true });
  return false;
}
