import type { Command } from 'commander';
import { type Client, TaskStatus } from '../../../client/index.js';
import { onDaemon } from '../../connection.js';
import { table } from '../../table.js';

const STATUS_NAMES = new Map<number, string>(Object.entries(TaskStatus).map(([name, value]) => [Number(value), name]));

export const statusName = (status: number): string => STATUS_NAMES.get(status) ?? 'UNKNOWN';

async function list(client: Client, quiet: boolean): Promise<void> {
  const { tasks } = await client.tasks.list({});
  if (quiet) {
    for (const { id } of tasks) process.stdout.write(`${id}\n`);
    return;
  }
  const rows = tasks.map(({ id, pid, status }) => [id, String(pid), statusName(status)]);
  process.stdout.write(table(['TASK', 'PID', 'STATUS'], rows));
}

async function processes(client: Client, id: string): Promise<void> {
  const { processes } = await client.tasks.listPids({ containerId: id });
  process.stdout.write(
    table(
      ['PID'],
      processes.map(({ pid }) => [String(pid)]),
    ),
  );
}

export const addTasks = (program: Command): void => {
  program
    .command('tasks')
    .aliases(['list', 'ls', 'task'])
    .description('list the running containers of the namespace')
    .option('-q, --quiet', 'ids only')
    .action((options: { quiet?: boolean }, command: Command) =>
      onDaemon(command, (client) => list(client, options.quiet ?? false)),
    );
  program
    .command('ps')
    .description('list the processes of a container')
    .argument('<id>', 'the container')
    .action((id: string, _options: object, command: Command) => onDaemon(command, (client) => processes(client, id)));
  for (const [name, change] of [
    ['pause', (client: Client, containerId: string) => client.tasks.pause({ containerId })],
    ['resume', (client: Client, containerId: string) => client.tasks.resume({ containerId })],
  ] as const) {
    program
      .command(name)
      .description(`${name} a container`)
      .argument('<id>', 'the container')
      .action((id: string, _options: object, command: Command) =>
        onDaemon(command, async (client) => {
          await change(client, id);
        }),
      );
  }
};
