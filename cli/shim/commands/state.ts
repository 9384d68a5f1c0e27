import type { Command } from 'commander';
import { TaskStatus } from '../../../client/index.js';
import { table } from '../../table.js';
import { onShim } from '../connection.js';

const NAMES = new Map<number, string>(Object.entries(TaskStatus).map(([name, value]) => [Number(value), name]));

const printable = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value);

export const addState = (program: Command): void => {
  program
    .command('state')
    .description('show a process')
    .option('--exec-id <id>', 'not the first one')
    .argument('<id>', 'the task')
    .action((id: string, { execId = '' }: { execId?: string }, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        const state = await tasks.state({ id, execId }, call);
        const shown = { ...state, status: NAMES.get(state.status) ?? 'UNKNOWN' };
        process.stdout.write(`${JSON.stringify(shown, printable, 2)}\n`);
      }),
    );
  program
    .command('list')
    .description('list the processes that the supervisor of a task watches over')
    .argument('<id>', 'any of its tasks')
    .action((id: string, _options: object, command: Command) =>
      onShim(command, id, async ({ supervisor, call }) => {
        const { processes } = await supervisor.describe({}, call);
        const rows = processes.map((each) => [
          each.id,
          each.execId,
          String(each.pid),
          NAMES.get(each.status) ?? 'UNKNOWN',
          each.exit === undefined ? '' : String(each.exit.status),
        ]);
        process.stdout.write(table(['TASK', 'EXEC', 'PID', 'STATUS', 'EXIT'], rows));
      }),
    );
  program
    .command('ps')
    .description('list the process ids of a task')
    .argument('<id>', 'the task')
    .action((id: string, _options: object, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        const { processes } = await tasks.pids({ id }, call);
        for (const { pid } of processes) process.stdout.write(`${pid}\n`);
      }),
    );
};
