import type { Command } from 'commander';
import { type Client, type Container, type Process, TaskStatus } from '../../../client/index.js';
import { hasCode, notFound } from '../../../kernel/errors.js';
import { onDaemon } from '../../connection.js';
import { specProcess } from '../container-spec.js';
import { statusName } from './tasks.js';

async function taskOf(client: Client, containerId: string): Promise<Process | undefined> {
  try {
    return (await client.tasks.get({ containerId })).process;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

const moment = (time: { seconds: bigint; nanos: number } | undefined): string | undefined =>
  time && new Date(Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6)).toISOString();

function describe(container: Container, task: Process | undefined): object {
  const { args, env, cwd } = specProcess(container);
  return {
    id: container.id,
    image: container.image,
    labels: container.labels,
    runtime: container.runtime?.name,
    snapshotter: container.snapshotter,
    snapshotKey: container.snapshotKey,
    createdAt: moment(container.createdAt),
    process: { args, env, cwd },
    task: task && {
      pid: task.pid,
      status: statusName(task.status),
      ...(task.status === TaskStatus.STOPPED ? { exitStatus: task.exitStatus, exitedAt: moment(task.exitedAt) } : {}),
    },
  };
}

export const addInfo = (program: Command): void => {
  program
    .command('info')
    .description('show a container and its task as JSON')
    .option('--spec', 'show its runtime spec instead')
    .argument('<id>', 'the container')
    .action((id: string, options: { spec?: boolean }, command: Command) =>
      onDaemon(command, async (client) => {
        const { container } = await client.containers.get({ id });
        if (!container) throw notFound(`container "${id}" does not exist`);
        const shown: unknown = options.spec
          ? JSON.parse(Buffer.from(container.spec?.value ?? new Uint8Array()).toString('utf8'))
          : describe(container, await taskOf(client, id));
        process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
      }),
    );
};
