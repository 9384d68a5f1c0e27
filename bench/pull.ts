/** Pull and unpack of the bench image, cold, alternating between the daemons. */

import { run as runCommand } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import { sideBySide } from './floor.js';
import { coldCaches } from './loop-disk.js';
import { peakDuring } from './peak.js';
import { processorSeconds } from './processor.js';
import { type Comparison, milliseconds } from './statistics.js';

const DIST = new URL('../../bin/dist', import.meta.url).pathname;
const CTR = '/usr/bin/ctr';

interface Sample {
  readonly seconds: number;
  /** Processor seconds of daemon, helpers and client. */
  readonly processor: number;
  /** Megabytes of daemon and helpers. */
  readonly peak: number;
}

export interface Contender {
  readonly kind: DaemonKind;
  readonly client: readonly string[];
  readonly config?: string;
}

const seconds = async (work: () => Promise<unknown>): Promise<number> => (await milliseconds(work)) / 1000;

export async function pull(
  { kind, client: [program = '', ...verbs], config }: Contender,
  reference: string,
): Promise<Sample> {
  await using daemon = await Daemon.start({ kind, ...(config === undefined ? {} : { config }) });
  await coldCaches();
  const args = ['--address', daemon.address, '--namespace', 'bench', ...verbs, '--plain-http', reference];
  const spent = (): number => processorSeconds(daemon.pid) + processorSeconds('self');
  const before = spent();
  let taken = 0;
  const peak = await peakDuring(daemon.pid, async () => {
    taken = await seconds(async () => {
      const { code, stderr, stdout } = await runCommand(program, args, { timeout: 300_000 });
      if (code !== 0) throw new Error(`${program} ${args.join(' ')} on ${kind}: ${stderr}${stdout}`);
    });
  });
  return { seconds: taken, processor: spent() - before, peak };
}

export const PULL_OF_OURS: Contender = { kind: 'keelsond', client: [DIST, 'pull'] };
export const PULL_OF_CTR: Contender = { kind: 'containerd', client: [CTR, 'images', 'pull'] };

const CONTENDERS = {
  ours: PULL_OF_OURS,
  peer: PULL_OF_CTR,
  synced: { kind: 'keelsond', client: [DIST, 'pull'], config: '[plugins.differs.config]\nsync = "full"\n' },
  driven: { kind: 'keelsond', client: [CTR, 'images', 'pull'] },
} as const satisfies Readonly<Record<string, Contender>>;

type Name = keyof typeof CONTENDERS;
const NAMES: readonly Name[] = ['ours', 'peer', 'synced', 'driven'];

const MEASURES = [
  { field: 'seconds', unit: 's', suffix: '' },
  { field: 'processor', unit: 's', suffix: ', processor time with the client' },
  { field: 'peak', unit: 'MB', suffix: ', peak memory of daemon and helpers' },
] as const;

/** `reference`: the image in a registry on loopback; `blobs`: its layers. Each round starts all daemons on empty stores. */
export async function benchPull(
  reference: string,
  blobs: readonly string[],
  directory: string,
  rounds: number,
): Promise<Comparison[]> {
  const samples: Record<Name, Sample[]> = { ours: [], peer: [], synced: [], driven: [] };
  const floor: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const name of NAMES) {
      const sample = await pull(CONTENDERS[name], reference);
      samples[name].push(sample);
      process.stderr.write(`pull ${round + 1}/${rounds} ${name}: ${JSON.stringify(sample)}\n`);
    }
    await coldCaches();
    floor.push(await sideBySide(blobs, directory, seconds));
  }
  const against = (what: string, name: Name): Comparison[] =>
    MEASURES.map(({ field, unit, suffix }) => ({
      what: `${what}${suffix}`,
      unit,
      ours: samples[name].map((sample) => sample[field]),
      peer: samples.peer.map((sample) => sample[field]),
    }));
  return [
    ...against('pull + unpack: `dist pull` beside `ctr images pull`', 'ours'),
    ...against('pull + unpack: `dist pull` with `sync = "full"` beside plain `ctr images pull`', 'synced'),
    ...against('pull + unpack: `ctr images pull` (client-driven) on both', 'driven'),
    {
      what: 'pull + unpack: `dist pull` beside `igzip \\| tar` of all layers at once (no containerd)',
      unit: 's',
      ours: samples.ours.map((sample) => sample.seconds),
      peer: floor,
    },
  ];
}
