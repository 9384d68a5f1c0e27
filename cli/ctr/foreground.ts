/** A process in the foreground of this terminal: its streams, its size, our signals, its exit code. */
import type { Client } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { detachOn, parseKeys } from './detach-keys.js';
import { forwardSignals } from './signals.js';
import { StdioClient, type StdioPaths } from './stdio.js';
import { followSize, rawTerminal } from './terminal.js';

export interface ProcessName {
  readonly containerId: string;
  /** Empty for the first process. */
  readonly execId: string;
}

export type Ending = { readonly kind: 'exited'; readonly code: number } | { readonly kind: 'detached' };

export interface Foreground {
  readonly process: ProcessName;
  readonly stdio: StdioPaths;
  readonly detachKeys: string;
  /** Creates and starts the process; absent when it runs already. */
  start?(): Promise<void>;
}

function report(what: string): (error: unknown) => void {
  return (error) => {
    // The process may end at any moment: then there is nothing left to tell it.
    if (hasCode(error, 'NOT_FOUND')) return;
    process.stderr.write(`${what}: ${error instanceof Error ? error.message : String(error)}\n`);
  };
}

/**
 * Runs it to its end, or until the detach keys are typed on a terminal. All
 * output has been written when this resolves.
 */
export async function inForeground(
  client: Client,
  { process: name, stdio, detachKeys, start }: Foreground,
): Promise<Ending> {
  // Before anything runs that would have to be ended again.
  const keys = stdio.terminal ? parseKeys(detachKeys) : undefined;
  using streams = new StdioClient(stdio);
  streams.hold();
  using _raw = stdio.terminal ? rawTerminal() : undefined;
  await start?.();
  const detached = Promise.withResolvers<Ending>();
  let left = false;
  const leave = (): void => {
    left = true;
    detached.resolve({ kind: 'detached' });
  };
  const closeInput = async (): Promise<void> => {
    // Our input ends with the keys that leave; that of the process does not.
    if (!left) await client.tasks.closeIO({ ...name, stdin: true }).catch(report('close stdin'));
  };
  const output = streams.connect({
    stdin: keys ? process.stdin.pipe(detachOn(keys, leave)) : process.stdin,
    onStdinEnd: closeInput,
    stdout: process.stdout,
    stderr: process.stderr,
  });
  const stopSizes = followSize((size) => {
    if (stdio.terminal) client.tasks.resizePty({ ...name, ...size }).catch(report('resize'));
  });
  const stopSignals = forwardSignals(async (signal) => {
    await client.tasks.kill({ ...name, signal }).catch(report('signal'));
  });
  const over = new AbortController();
  const exited = Promise.all([client.tasks.wait(name, { signal: over.signal }), output]).then(
    ([{ exitStatus }]): Ending => ({ kind: 'exited', code: exitStatus }),
  );
  try {
    return await Promise.race([exited, detached.promise]);
  } finally {
    // A call that is open would keep this program alive.
    over.abort();
    stopSizes();
    stopSignals();
    process.stdin.destroy();
  }
}
