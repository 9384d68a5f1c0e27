/** `keelson plugin`: for authors of plugins. */
import { join, relative, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { KINDS, type KindName, scaffold } from './scaffold.js';

interface Options {
  readonly kind: KindName;
  readonly directory?: string;
}

const newCommand = (): Command =>
  new Command('new')
    .description('write a package with a plugin that works and passes its conformance kit')
    .argument('<name>', 'id of the plugin, for example snapshot-mine')
    .addOption(new Option('--kind <kind>', 'what it is to be').choices(Object.keys(KINDS)).default('snapshotter'))
    .option('--directory <path>', 'where to put it; default: keelson-<name>')
    .action(async (name: string, { kind, directory }: Options) => {
      const target = resolve(directory ?? `keelson-${name}`);
      const files = await scaffold({ name, kind, directory: target });
      const shown = relative(process.cwd(), target) || '.';
      for (const file of files) process.stdout.write(`${join(shown, file)}\n`);
      process.stdout.write(`\nNext: cd ${shown} && npm install && npm run build && npm test\n`);
    });

export const pluginCommand = (): Command =>
  new Command('plugin').description('for authors of plugins').addCommand(newCommand());
