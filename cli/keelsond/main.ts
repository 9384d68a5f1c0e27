/** keelsond: the daemon's command line, with the flags of containerd. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { LOG_LEVELS } from '../../config/levels.js';
import type { LoadOptions, Override } from '../../config/load.js';
import { messageOf } from '../../kernel/errors.js';
import { REVISION, VERSION } from '../../lib/version.js';
import { configCommand } from './config-command.js';
import { publishCommand } from './publish-command.js';

interface Flags {
  readonly config?: string;
  readonly address?: string;
  readonly root?: string;
  readonly state?: string;
  readonly logLevel?: string;
}

/** Paths on the command line are relative to the working directory, unlike those in files. */
function loadOptions({ config, address, root, state, logLevel }: Flags): LoadOptions {
  const overrides: Override[] = [];
  const override = (flag: string, path: readonly string[], value: string | undefined): void => {
    if (value !== undefined) overrides.push({ flag, path, value });
  };
  override('--root', ['root'], root && resolve(root));
  override('--state', ['state'], state && resolve(state));
  override('--address', ['plugins', 'server-grpc', 'config', 'address'], address && resolve(address));
  override('--log-level', ['log', 'level'], logLevel === 'panic' ? 'fatal' : logLevel);
  return { ...(config !== undefined && { file: config }), overrides };
}

const program = new Command('keelsond')
  .description('A container runtime daemon made of plugins, speaking the API of containerd.')
  .version(`keelsond ${VERSION}${REVISION && ` ${REVISION}`}`, '-v, --version')
  .option('-c, --config <file>', 'configuration file, in place of /etc/keelson/config.{toml,yaml,yml,json}')
  .option('-a, --address <path>', "unix socket of the API; clients find it in place of containerd's")
  .option('--root <directory>', 'what survives a reboot')
  .option('--state <directory>', 'what lasts until reboot')
  .option('-l, --log-level <level>', `least severity that is logged: ${LOG_LEVELS.join(', ')}`)
  .action(async () => {
    const { runDaemon } = await import('./daemon.js');
    process.exit(await runDaemon(loadOptions(program.opts<Flags>())));
  });

program.addCommand(configCommand(() => loadOptions(program.opts<Flags>())));
program.addCommand(publishCommand(() => program.opts<Flags>().address));

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`keelsond: ${messageOf(error)}\n`);
  process.exit(1);
});
