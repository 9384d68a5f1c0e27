/** `keelson`: looks at a host, a configuration and a running daemon. */
import { Command } from 'commander';
import { REVISION, VERSION } from '../../lib/version.js';
import { runProgram, withConnection } from '../connection.js';
import { conformanceCommand } from './conformance-command.js';
import { doctorCommand } from './doctor-command.js';
import { pluginCommand } from './plugin-command.js';
import { pluginsCommand } from './plugins-command.js';
import { reloadCommand } from './reload-command.js';

const program = withConnection(
  new Command('keelson')
    .description('look at a daemon, its plugins and its host')
    .version(`keelson ${VERSION}${REVISION && ` ${REVISION}`}`, '-v, --version'),
);
program.addCommand(pluginsCommand());
program.addCommand(doctorCommand());
program.addCommand(conformanceCommand());
program.addCommand(reloadCommand());
program.addCommand(pluginCommand());
void runProgram(program);
