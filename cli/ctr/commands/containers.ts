import type { Command } from 'commander';
import { onDaemon } from '../../connection.js';
import { table } from '../../table.js';

export const addContainers = (program: Command): void => {
  program
    .command('containers')
    .alias('container')
    .description('list the containers of the namespace, running or not')
    .option('-q, --quiet', 'ids only')
    .argument('[filter...]', 'such as image==docker.io/library/redis:alpine')
    .action((filters: string[], options: { quiet?: boolean }, command: Command) =>
      onDaemon(command, async (client) => {
        const { containers } = await client.containers.list({ filters });
        const rows = containers.map(({ id, image, runtime }) => [id, image, runtime?.name ?? '']);
        const text = options.quiet
          ? rows.map(([id]) => `${id}\n`).join('')
          : table(['CONTAINER', 'IMAGE', 'RUNTIME'], rows);
        process.stdout.write(text);
      }),
    );
};
