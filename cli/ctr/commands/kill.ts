import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { onDaemon } from '../../connection.js';
import { parseSignal } from '../signals.js';

interface KillOptions {
  readonly signal?: string;
  readonly all?: boolean;
  readonly execId?: string;
}

const STOP_SIGNAL_LABEL = 'io.containerd.image.config.stop-signal';

/** The signal the image asks to be stopped with, else SIGTERM. */
async function stopSignal(client: Client, id: string): Promise<string> {
  const { container } = await client.containers.get({ id });
  return container?.labels[STOP_SIGNAL_LABEL] ?? 'SIGTERM';
}

export const addKill = (program: Command): void => {
  program
    .command('kill')
    .description('send a signal to a container')
    .option('-s, --signal <signal>', 'name or number; default: what the image asks for, else SIGTERM')
    .option('-a, --all', 'to all its processes')
    .option('--exec-id <id>', 'to that process only')
    .argument('<id>', 'the container')
    .action((id: string, options: KillOptions, command: Command) =>
      onDaemon(command, async (client) => {
        const signal = parseSignal(options.signal ?? (await stopSignal(client, id)));
        await client.tasks.kill({ containerId: id, execId: options.execId ?? '', signal, all: options.all ?? false });
      }),
    );
};
