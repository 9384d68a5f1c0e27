/** What the daemon says of itself. */
import type { Command } from 'commander';
import type { Plugin } from '../../../client/index.js';
import { onDaemon } from '../../connection.js';
import { table } from '../../table.js';

/** google.rpc.Code UNIMPLEMENTED: how a plugin says that it cannot run on this host. */
const UNIMPLEMENTED = 12;

function pluginStatus({ initErr }: Plugin): string {
  if (!initErr) return 'ok';
  return initErr.code === UNIMPLEMENTED ? `skip: ${initErr.message}` : `error: ${initErr.message}`;
}

export const addDaemon = (program: Command): void => {
  program
    .command('version')
    .description('show the version of this program and of the daemon')
    .action((_options: object, command: Command) =>
      onDaemon(command, async (client) => {
        const { version, revision } = await client.version.version({});
        process.stdout.write(`Client: ${program.version() ?? ''}\nServer: ${version} ${revision}\n`);
      }),
    );
  program
    .command('plugins')
    .description('list the plugins of the daemon')
    .argument('[filter...]', 'such as type==io.containerd.snapshotter.v1')
    .action((filters: string[], _options: object, command: Command) =>
      onDaemon(command, async (client) => {
        const { plugins } = await client.introspection.plugins({ filters });
        const rows = plugins.map((plugin) => {
          const platforms = plugin.platforms.map(({ os, architecture }) => `${os}/${architecture}`).join(',');
          return [plugin.type, plugin.id, platforms || '-', pluginStatus(plugin)];
        });
        process.stdout.write(table(['TYPE', 'ID', 'PLATFORMS', 'STATUS'], rows));
      }),
    );
};
