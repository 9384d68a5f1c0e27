/** `keelson conformance`: what a plugin package or a daemon keeps of its contracts. */
import { Command } from 'commander';
import { loadConfig } from '../../config/load.js';

interface Options {
  readonly cannot: string;
  readonly kit: string;
  readonly snapshotter: string;
  readonly runtime: string;
  readonly config?: string;
  readonly plugin?: string;
  readonly only?: string;
  readonly verbose?: true;
}

const listOf = (text: string): readonly string[] => text.split(',').filter((word) => word !== '');

/** The one section of a file that says how a package's plugin is configured; the file may hold nothing else. */
async function sectionOf(file: string | undefined): Promise<unknown> {
  if (file === undefined) return {};
  const { settings } = await loadConfig({ file });
  const own = Object.values(settings.plugins ?? {}).filter((entry) => entry.package ?? entry.path);
  return own[0]?.config ?? {};
}

const MARKS = { pass: 'ok  ', fail: 'FAIL', skip: 'skip' } as const;

export const conformanceCommand = (): Command =>
  new Command('conformance')
    .description('run the conformance kits against a plugin package, or a daemon at a socket; fails when a check does')
    .argument('<target>', 'name or directory of a package, or path of a socket')
    .option('--cannot <capabilities>', 'what it does not claim, separated by commas; all else is tested', '')
    .option(
      '--kit <kits>',
      'of a socket: daemon, content, events, differ, snapshotter, runtime, metadata; default: all but metadata, which wants a daemon that collects only when asked',
      '',
    )
    .option('--snapshotter <id>', 'of a socket: the snapshotter to look at', 'overlayfs')
    .option('--runtime <name>', 'of a socket: the runtime to look at', 'io.containerd.runc.v2')
    .option('-c, --config <file>', "of a package: a configuration with the package's section")
    .option('--only <text>', 'only checks with this in their title')
    .option('--verbose', 'show every check, not only those that fail')
    .action(async (target: string, options: Options) => {
      const { conform } = await import('../../test/conformance/command.js');
      const { cannot, kit, snapshotter, runtime, config, only, verbose } = options;
      const results = conform({
        target,
        cannot: listOf(cannot),
        kits: listOf(kit),
        snapshotter,
        runtime,
        config: await sectionOf(config),
        ...(only !== undefined && { only }),
      });
      const counts = { pass: 0, fail: 0, skip: 0 };
      let group = '';
      for await (const result of results) {
        if (typeof result === 'string') {
          process.stdout.write(`${result}\n`);
          continue;
        }
        counts[result.outcome] += 1;
        if (result.outcome === 'pass' && verbose === undefined) continue;
        const path = result.path.slice(0, -1).join(' > ');
        if (path !== group) process.stdout.write(`\n${path}\n`);
        group = path;
        process.stdout.write(`  ${MARKS[result.outcome]}  ${result.path.at(-1)} (${result.millis} ms)\n`);
        if (result.reason !== '') process.stdout.write(`        ${result.reason.replaceAll('\n', '\n        ')}\n`);
      }
      process.stdout.write(`\n${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped\n`);
      // what a check that failed has left open is not waited for
      process.exit(counts.fail > 0 || counts.pass === 0 ? 1 : 0);
    });
