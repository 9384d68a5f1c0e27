/** `keelson plugins`: what a daemon is made of, and what depends on what. */
import { existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import { connect } from '../../client/index.js';
import { table } from '../table.js';
import { drawGraph, GRAPHS, type GraphFormat } from './graph.js';
import { liveOverview, type Overview, plannedOverview } from './overview.js';

interface Options {
  readonly address: string;
  readonly config?: string;
  readonly graph?: GraphFormat;
}

async function overviewOf({ address, config }: Options): Promise<Overview> {
  if (config !== undefined) return plannedOverview(config);
  if (!existsSync(address)) {
    process.stderr.write(`no daemon at ${address}: this is what the configuration plans\n`);
    return plannedOverview(undefined);
  }
  using client = connect({ address });
  return await liveOverview(client);
}

function list({ rows }: Overview): string {
  const head = ['TYPE', 'ID', 'PLUGIN', 'STATUS', 'START', 'VERSION', 'SOURCE', 'REASON'];
  const cells = rows.map(({ type, id, name, status, millis, version, source, reason }) => {
    const start = millis === '' ? '-' : `${millis} ms`;
    return [type || '-', id || '-', name, status, start, version || '-', source || '-', reason || '-'];
  });
  return table(head, cells);
}

export const pluginsCommand = (): Command =>
  new Command('plugins')
    .description('list plugins: of the running daemon, or as a configuration plans them')
    .option('-c, --config <file>', 'look at this configuration, not at a daemon')
    .addOption(new Option('--graph <format>', 'draw what depends on what instead').choices(GRAPHS))
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const overview = await overviewOf(options);
      process.stdout.write(options.graph === undefined ? list(overview) : drawGraph(overview, options.graph));
    });
