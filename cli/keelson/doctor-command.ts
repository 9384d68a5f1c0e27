/** `keelson doctor`: whether this host can run containers, and what to do where it cannot. */
import { Command } from 'commander';
import { loadConfig } from '../../config/load.js';
import { table } from '../table.js';
import { examine } from './doctor.js';

export const doctorCommand = (): Command =>
  new Command('doctor')
    .description('check this host, and say what to do; fails when something will not work')
    .option('--root <directory>', 'where the daemon keeps its data; default: as configured')
    .action(async (_, command: Command) => {
      const { address, root } = command.optsWithGlobals<{ address: string; root?: string }>();
      const findings = await examine({ address, root: root ?? (await loadConfig()).settings.root });
      const rows = findings.map(({ subject, verdict, found, remedy }) => [verdict, subject, found, remedy]);
      process.stdout.write(table(['VERDICT', 'WHAT', 'FOUND', 'WHAT TO DO'], rows));
      if (findings.some(({ verdict }) => verdict === 'fail')) process.exitCode = 1;
    });
