import { constants } from 'node:os';
import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { hasCode, notFound } from '../../../kernel/errors.js';
import { onDaemon } from '../../connection.js';
import { isOwnStdio, removeStdio } from '../stdio.js';

interface DeleteOptions {
  readonly force?: boolean;
  readonly keepSnapshot?: boolean;
}

const unlessMissing = (error: unknown): void => {
  if (!hasCode(error, 'NOT_FOUND')) throw error;
};

/** Ends a task: by SIGKILL when asked, else it must have ended. */
async function deleteTask(client: Client, containerId: string, force: boolean): Promise<void> {
  const { process: task } = await client.tasks.get({ containerId });
  if (force) {
    const ended = client.tasks.wait({ containerId });
    ended.catch(() => {}); // awaited below
    await client.tasks.kill({ containerId, signal: constants.signals.SIGKILL, all: true }).catch(unlessMissing);
    await ended;
  }
  await client.tasks.delete({ containerId });
  if (task && isOwnStdio(containerId, task)) await removeStdio(task);
}

async function deleteContainer(client: Client, id: string, options: DeleteOptions): Promise<void> {
  const { container } = await client.containers.get({ id });
  if (!container) throw notFound(`container "${id}" does not exist`);
  await deleteTask(client, id, options.force ?? false).catch(unlessMissing);
  await client.containers.delete({ id });
  const { snapshotter, snapshotKey: key } = container;
  if (options.keepSnapshot || key === '') return;
  await client.snapshots.remove({ snapshotter, key }).catch(unlessMissing);
}

export const addDelete = (program: Command): void => {
  program
    .command('delete')
    .aliases(['del', 'rm', 'remove'])
    .description('remove containers, with their ended tasks and snapshots')
    .option('-f, --force', 'kill what still runs')
    .option('--keep-snapshot', 'leave the filesystem')
    .argument('<id...>', 'the containers')
    .action((ids: string[], options: DeleteOptions, command: Command) =>
      onDaemon(command, async (client) => {
        for (const id of ids) await deleteContainer(client, id, options);
      }),
    );
};
