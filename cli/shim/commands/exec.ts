import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { bundlePath, type Shim } from '../../../client/shim.js';
import { failedPrecondition } from '../../../kernel/errors.js';
import { packJson } from '../../../lib/rpc/any.js';
import { makeStdio, removeStdio, StdioClient } from '../../ctr/stdio.js';
import { followSize, rawTerminal, type TerminalSize } from '../../ctr/terminal.js';
import { onShim, type ShimOptions } from '../connection.js';

const PROCESS_TYPE_URL = 'types.containerd.io/opencontainers/runtime-spec/1/Process';
const FIFO_DIRECTORY = '/run/keelson/fifo';

const specSchema = z.looseObject({ process: z.looseObject({ args: z.array(z.string()) }) });

interface ExecOptions extends ShimOptions {
  readonly execId?: string;
  readonly tty?: boolean;
  readonly fifoDir: string;
}

/** The task's own process with other arguments. */
async function processSpec({ state, namespace, tty = false }: ExecOptions, id: string, args: readonly string[]) {
  const path = join(bundlePath(state, namespace, id), 'config.json');
  const spec = specSchema.safeParse(JSON.parse(await readFile(path, 'utf8')));
  if (!spec.success) throw failedPrecondition(`"${path}" has no process to take over`, { cause: spec.error });
  return packJson(PROCESS_TYPE_URL, { ...spec.data.process, args, terminal: tty });
}

async function exec(shim: Shim, id: string, args: readonly string[], options: ExecOptions): Promise<void> {
  const { tasks, call } = shim;
  const execId = options.execId ?? `exec-${randomBytes(6).toString('hex')}`;
  const spec = await processSpec(options, id, args);
  const stdio = await makeStdio(options.fifoDir, `${id}-${execId}`, options.tty ?? false);
  using streams = new StdioClient(stdio);
  try {
    await tasks.exec({ id, execId, spec, ...stdio }, call);
    streams.hold();
    using _raw = stdio.terminal ? rawTerminal() : undefined;
    const resize = (size: TerminalSize): void => {
      if (stdio.terminal) void tasks.resizePty({ id, execId, ...size }, call).catch(() => undefined);
    };
    // With our supervisor the terminal has its size from the beginning; a stock shim takes it only once there is one.
    followSize(resize)();
    await tasks.start({ id, execId }, call);
    const output = streams.connect({
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      onStdinEnd: () => void tasks.closeIO({ id, execId, stdin: true }, call).catch(() => undefined),
    });
    const stop = followSize(resize);
    const [{ exitStatus }] = await Promise.all([tasks.wait({ id, execId }, call), output]);
    stop();
    process.stdin.destroy();
    await tasks.delete({ id, execId }, call);
    process.exitCode = exitStatus;
  } finally {
    await removeStdio(stdio);
  }
}

export const addExec = (program: Command): void => {
  program
    .command('exec')
    .description('run another process in a task, with its streams here')
    .option('--exec-id <id>', 'id of the process; random when absent')
    .option('-t, --tty', 'with a terminal')
    .option('--fifo-dir <directory>', 'where the streams of the process are made', FIFO_DIRECTORY)
    .argument('<id>', 'the task')
    .argument('<command...>', 'program and arguments')
    .passThroughOptions()
    .action((id: string, args: string[], _options: object, command: Command) =>
      onShim(command, id, (shim) => exec(shim, id, args, command.optsWithGlobals<ExecOptions>())),
    );
};
