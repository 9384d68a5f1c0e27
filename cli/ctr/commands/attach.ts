import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { notFound } from '../../../kernel/errors.js';
import { onDaemon } from '../../connection.js';
import { inForeground } from '../foreground.js';

interface AttachOptions {
  readonly detachKeys: string;
}

async function attach(client: Client, id: string, { detachKeys }: AttachOptions): Promise<void> {
  const { process: task } = await client.tasks.get({ containerId: id });
  if (!task) throw notFound(`container "${id}" has no task`);
  const name = { containerId: id, execId: '' };
  const ending = await inForeground(client, { process: name, stdio: task, detachKeys });
  if (ending.kind === 'exited') process.exitCode = ending.code;
}

export const addAttach = (program: Command): void => {
  program
    .command('attach')
    .description('connect this terminal to a running container')
    .option('--detach-keys <keys>', 'keys that leave without ending it', 'ctrl-p,ctrl-q')
    .argument('<id>', 'the container')
    .action((id: string, options: AttachOptions, command: Command) =>
      onDaemon(command, (client) => attach(client, id, options)),
    );
};
