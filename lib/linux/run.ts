/** Running a program to its end, with input and output in memory, without ever blocking the event loop. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { isErrno } from '../errno.js';
import { Collector } from './collector.js';
import { makePipe } from './fifo.js';
import { ProcessHandle } from './pidfd.js';
import { spawn } from './process.js';

export interface RunOptions {
  /** Absolute. */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** At most 64 KiB, what a pipe holds. */
  readonly input?: Uint8Array;
  /** In a session of its own. */
  readonly session?: boolean;
  /** Milliseconds until it is killed. */
  readonly deadline: number;
}

export interface RunResult {
  /** The number that it had. */
  readonly pid: number;
  readonly exitStatus: number;
  /** It was killed because its deadline had passed. */
  readonly late: boolean;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Bytes kept of each output; what comes after is dropped. */
const OUTPUT_LIMIT = 1 << 20;
const SIGKILL = 9;

function writeInput(fd: number, input: Uint8Array): void {
  try {
    if (input.length > 0) writeSync(fd, input);
  } catch (error) {
    // The program does not read it.
    if (!isErrno(error, 'EPIPE')) throw error;
  }
}

/** Resolves when the program has ended, however. Throws as execve(2) answers when it cannot be started. */
export async function run({ input = new Uint8Array(), deadline, ...program }: RunOptions): Promise<RunResult> {
  const source = input.length > 0 ? makePipe() : { read: openSync('/dev/null', 'r'), write: -1 };
  const stdout = makePipe();
  const stderr = makePipe();
  const collectors = [stdout, stderr].map(({ read }) => new Collector(read, OUTPUT_LIMIT));
  const take = (): Buffer[] => collectors.map((collector) => collector.take());
  let pid: number;
  let handle: ProcessHandle;
  try {
    pid = spawn({ ...program, files: [source.read, stdout.write, stderr.write] });
    handle = new ProcessHandle(pid);
  } catch (error) {
    take();
    if (source.write >= 0) closeSync(source.write);
    throw error;
  } finally {
    for (const fd of [source.read, stdout.write, stderr.write]) closeSync(fd);
  }
  if (source.write >= 0) {
    writeInput(source.write, input);
    closeSync(source.write);
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    handle.signal(SIGKILL);
  }, deadline);
  await new Promise<void>((resolve) => handle.onExit(resolve));
  clearTimeout(timer);
  const exitStatus = handle.exitStatus()?.exitStatus ?? 255;
  handle.close();
  const [out = Buffer.alloc(0), errors = Buffer.alloc(0)] = take();
  return { pid, exitStatus, late, stdout: out, stderr: errors };
}
