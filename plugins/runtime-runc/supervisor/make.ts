/** Making processes: an OCI runtime, standard streams, perhaps a terminal. */
import { fchownSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import type { Stdio } from '../../../api/gen/runtime/supervisor.js';
import { internal } from '../../../kernel/errors.js';
import { ConsoleSocket } from '../../../lib/linux/pty.js';
import type { Making } from './oci-runtime.js';
import type { Process } from './process.js';
import type { Reaper } from './reaper.js';
import { type Owner, Streams } from './streams.js';

export interface MakeContext {
  readonly reaper: Reaper;
  readonly namespace: string;
  readonly bundle: string;
  readonly ioUid: number;
  readonly ioGid: number;
  onError(error: unknown): void;
}

let consoles = 0;

const ownerOf = ({ ioUid, ioGid }: MakeContext): Owner => ({
  take(fd) {
    if (ioUid !== 0 || ioGid !== 0) fchownSync(fd, ioUid, ioGid);
  },
});

const NO_STREAMS: Stdio = { terminal: false, stdin: '', stdout: '', stderr: '' };

const openStreams = (stdio: Stdio, id: string, context: MakeContext): Promise<Streams> =>
  Streams.open(stdio, { ...context, id, owner: ownerOf(context) });

/**
 * The streams of a process that another supervisor made: its FIFOs are held
 * again, and its terminal is copied again if its master was kept. A logging
 * program has its pipes already.
 */
export async function reopenStreams(process: Process, context: MakeContext, master?: number): Promise<Streams> {
  const { stdio = NO_STREAMS, id } = process.record;
  const isPath = /^(fifo:\/)?\//.test(stdio.stdout);
  const streams = await openStreams(isPath ? stdio : { ...stdio, stdout: '', stderr: '' }, id, context);
  streams.handedOver(master);
  return streams;
}

/** Where the runtime writes the number of the process it makes. An exec's name may be "init". */
export const pidFileOf = (bundle: string, execId: string): string =>
  join(bundle, execId === '' ? 'init.pid' : `exec-${execId}.pid`);

/** INTERNAL when the runtime wrote no number there. */
export function readPid(file: string): number {
  const text = readFileSync(file, 'utf8');
  if (!/^[1-9]\d*$/.test(text)) throw internal(`"${file}" holds no process id`);
  return Number(text);
}

/**
 * Opens the streams, lets the runtime make the process with them, and takes
 * over what it made. Nothing of ours is left open after a failure.
 */
export async function makeProcess(
  process: Process,
  context: MakeContext,
  make: (making: Making) => Promise<void>,
): Promise<void> {
  const { record } = process;
  const pidFile = pidFileOf(context.bundle, record.execId);
  const streams = await openStreams(record.stdio ?? NO_STREAMS, record.id, context);
  // By way of /proc, always short enough for a socket's address, however long the directory's path is.
  const socket = `/proc/${pid}/cwd/console-${consoles++}`;
  const console = record.stdio?.terminal ? new ConsoleSocket(socket) : undefined;
  try {
    await make({ bundle: context.bundle, pidFile, files: streams.files, consoleSocket: console?.path });
    streams.handedOver(console?.take());
    process.made(readPid(pidFile), streams);
  } catch (error) {
    streams.close();
    throw error;
  } finally {
    console?.close();
    if (record.execId !== '') rmSync(pidFile, { force: true });
  }
}
