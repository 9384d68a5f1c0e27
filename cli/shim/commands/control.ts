import { type Command, InvalidArgumentError } from 'commander';
import type { Shim } from '../../../client/shim.js';
import { parseSignal } from '../../ctr/signals.js';
import { onShim } from '../connection.js';

interface ProcessOptions {
  readonly execId?: string;
}

/** A command that names a task, or with `--exec-id` another process of it. */
const processCommand = (program: Command, name: string, description: string): Command =>
  program
    .command(name)
    .description(description)
    .option('--exec-id <id>', 'another process of the task')
    .argument('<id>', 'the task');

function cells(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a number of cells, 1 to 99999');
}

/** Commands that take a task and answer nothing. */
const PLAIN: Readonly<Record<string, { what: string; run(shim: Shim, id: string): Promise<unknown> }>> = {
  pause: { what: 'freeze all processes of a task', run: ({ tasks, call }, id) => tasks.pause({ id }, call) },
  resume: { what: 'thaw all processes of a task', run: ({ tasks, call }, id) => tasks.resume({ id }, call) },
  exit: {
    what: 'end the supervisor of a task that was deleted; it refuses while it has others',
    run: ({ tasks, call }, id) => tasks.shutdown({ id, now: true }, call),
  },
};

export const addControl = (program: Command): void => {
  for (const [name, { what, run }] of Object.entries(PLAIN)) {
    program
      .command(name)
      .description(what)
      .argument('<id>', 'the task')
      .action((id: string, _options: object, command: Command) =>
        onShim(command, id, async (shim) => {
          await run(shim, id);
        }),
      );
  }
  processCommand(program, 'start', 'start a process that was created; prints its pid').action(
    (id: string, { execId = '' }: ProcessOptions, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        const { pid } = await tasks.start({ id, execId }, call);
        process.stdout.write(`${pid}\n`);
      }),
  );
  processCommand(program, 'wait', 'wait for the end of a process; exits with its status').action(
    (id: string, { execId = '' }: ProcessOptions, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        process.exitCode = (await tasks.wait({ id, execId }, call)).exitStatus;
      }),
  );
  processCommand(program, 'kill', 'send a signal')
    .option('-s, --signal <signal>', 'name or number', 'SIGTERM')
    .option('-a, --all', 'to all processes of the task')
    .action((id: string, options: ProcessOptions & { signal: string; all?: boolean }, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        const { execId = '', signal, all = false } = options;
        await tasks.kill({ id, execId, signal: parseSignal(signal), all }, call);
      }),
    );
  processCommand(program, 'pty', 'resize the terminal of a process')
    .argument('<width>', 'columns', cells)
    .argument('<height>', 'rows', cells)
    .action((id: string, width: number, height: number, { execId = '' }: ProcessOptions, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        await tasks.resizePty({ id, execId, width, height }, call);
      }),
    );
  processCommand(program, 'close-stdin', 'end the input of a process').action(
    (id: string, { execId = '' }: ProcessOptions, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        await tasks.closeIO({ id, execId, stdin: true }, call);
      }),
  );
};
