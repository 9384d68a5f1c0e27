/** `keelsond config`, spelled out; what it does is loaded only when it is asked for. */
import { Command } from 'commander';
import type { LoadOptions } from '../../config/load.js';

/** `flags` yields what the flags of the program itself say. */
export function configCommand(flags: () => LoadOptions): Command {
  const actions = () => import('./config-actions.js');
  const command = new Command('config').description('show and check the configuration');
  command
    .command('default')
    .description('print the default configuration, with every setting explained')
    .action(async () => (await actions()).printDefault());
  command
    .command('dump')
    .description('print the effective configuration: defaults, files and flags merged')
    .action(async () => (await actions()).printEffective(flags()));
  command
    .command('schema')
    .description('print the JSON schema of a configuration file')
    .action(async () => (await actions()).printSchema());
  command
    .command('check')
    .argument('[file]', 'in place of the one that the daemon would read')
    .description('tell every problem of a configuration; fails if there is any')
    .action(async (file?: string) =>
      (await actions()).checkConfig({ ...flags(), ...(file !== undefined && { file }) }),
    );
  return command;
}
