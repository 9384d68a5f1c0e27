/**
 * `binary:///path?key=value`: a logging program. It gets the container's
 * stdout and stderr as descriptors 3 and 4, `key value` as arguments, and
 * CONTAINER_ID and CONTAINER_NAMESPACE in its environment; it closes
 * descriptor 5 when it is ready. `binary-v2` wants a byte written there first.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { failedPrecondition, invalidArgument } from '../../../kernel/errors.js';
import { makePipe } from '../../../lib/linux/fifo.js';
import type { ProcessHandle } from '../../../lib/linux/pidfd.js';
import { watchReadable } from '../../../lib/linux/poll.js';
import { spawn } from '../../../lib/linux/process.js';
import { PipeOutput } from './outputs.js';
import type { Reaper } from './reaper.js';

/** Milliseconds a logging program has to become ready. */
const READY_DEADLINE = 10_000;
const SIGKILL = 9;

export interface Logger {
  readonly stdout: PipeOutput;
  readonly stderr: PipeOutput;
}

export interface LoggerRequest {
  readonly uri: URL;
  readonly id: string;
  readonly namespace: string;
}

/** Bytes read from the ready pipe: 0 when it was just closed. */
function readySignal(fd: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      watch.close();
      reject(failedPrecondition(`the logging program was not ready within ${READY_DEADLINE} ms`));
    }, READY_DEADLINE);
    const watch = watchReadable(fd, () => {
      clearTimeout(timer);
      watch.close();
      resolve(readSync(fd, Buffer.alloc(1)));
    });
  });
}

function start(reaper: Reaper, { uri, id, namespace }: LoggerRequest, files: readonly number[]): ProcessHandle {
  const args = [...uri.searchParams].flatMap(([key, value]) => (value === '' ? [key] : [key, value]));
  const environment = { ...process.env, CONTAINER_ID: id, CONTAINER_NAMESPACE: namespace };
  const env = Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const handle = reaper.watch(spawn({ path: decodeURIComponent(uri.pathname), args, env, cwd: '/', files }));
  handle.onExit(() => {
    handle.exitStatus();
    reaper.release(handle);
  });
  return handle;
}

/** Starts the program and waits until it is ready. FAILED_PRECONDITION when it does not become so; NOT_FOUND. */
export async function startLogger(reaper: Reaper, request: LoggerRequest): Promise<Logger> {
  if (request.uri.host !== '') throw invalidArgument(`"${request.uri}" must have the form binary:///path`);
  const stdout = makePipe();
  const stderr = makePipe();
  const ready = makePipe();
  const nothing = openSync('/dev/null', 'r+');
  const logger = { stdout: new PipeOutput(stdout), stderr: new PipeOutput(stderr) };
  let program: ProcessHandle | undefined;
  try {
    const files = [nothing, nothing, nothing, stdout.read, stderr.read, ready.write];
    program = start(reaper, request, files);
    closeSync(ready.write);
    const bytes = await readySignal(ready.read);
    if (bytes === 0 && request.uri.protocol === 'binary-v2:') {
      throw failedPrecondition(`the logging program "${request.uri.pathname}" ended without becoming ready`);
    }
    return logger;
  } catch (error) {
    if (program === undefined) closeSync(ready.write);
    else if (program.alive()) program.signal(SIGKILL);
    logger.stdout.close();
    logger.stderr.close();
    throw error;
  } finally {
    closeSync(nothing);
    closeSync(ready.read);
  }
}
