/** Daemon start, container start, and memory. */
import { connect } from 'node:net';
import { Client, credentials } from '@grpc/grpc-js';
import { Background } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import { scratch } from '../test/harness/scratch.js';
import { type Memory, memoryOf } from './memory.js';
import { type Comparison, milliseconds } from './statistics.js';

export const KINDS = ['keelsond', 'containerd'] as const satisfies readonly DaemonKind[];

const ctr = async (daemon: Daemon, ...args: readonly string[]): Promise<void> => {
  const { code, stderr } = await daemon.ctr('bench').run(args, { timeout: 120_000 });
  if (code !== 0) throw new Error(`ctr ${args.join(' ')} on ${daemon.kind}: ${stderr}`);
};

/** Resolves once something accepts connections at the socket; looks again at once. */
async function accepting(path: string): Promise<void> {
  const attempt = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(path, () => resolve(true)).once('error', () => resolve(false));
      socket.once('close', () => socket.destroy()).unref();
    });
  while (!(await attempt()));
}

function version(address: string): Promise<void> {
  const client = new Client(`unix:${address}`, credentials.createInsecure());
  const empty = (): Buffer => Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest('/containerd.services.version.v1.Version/Version', empty, empty, undefined, (error) => {
      client.close();
      return error ? reject(error) : resolve();
    });
  });
}

/** A first life makes the directories and the database; the timed one is a restart. */
async function timedStart(kind: DaemonKind): Promise<number> {
  await using daemon = await Daemon.start({ kind });
  await daemon.stop();
  const { config, root, state, address } = daemon;
  await using directory = await scratch('start');
  const flags = ['--config', config, '--root', root, '--state', state, '--address', address];
  const program =
    kind === 'containerd' ? '/usr/bin/containerd' : new URL('../../bin/keelsond', import.meta.url).pathname;
  let started: Background | undefined;
  try {
    return await milliseconds(async () => {
      started = new Background(program, flags, { cwd: directory.path });
      await accepting(address);
      await version(address);
    });
  } finally {
    await started?.stop('SIGTERM');
  }
}

export async function benchStart(rounds: number): Promise<Comparison[]> {
  const times: Record<DaemonKind, number[]> = { keelsond: [], containerd: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of KINDS) times[kind].push(await timedStart(kind));
  }
  return [{ what: 'daemon start to first answer', unit: 'ms', ours: times.keelsond, peer: times.containerd }];
}

/** `run --rm IMAGE true` by Debian's ctr, alternating, after one warm-up on each side. */
export async function benchRun(
  daemons: Readonly<Record<DaemonKind, Daemon>>,
  image: string,
  rounds: number,
): Promise<Comparison[]> {
  const times: Record<DaemonKind, number[]> = { keelsond: [], containerd: [] };
  for (let round = -1; round < rounds; round += 1) {
    for (const kind of KINDS) {
      const elapsed = await milliseconds(() => ctr(daemons[kind], 'run', '--rm', image, `run${round + 1}`, 'true'));
      if (round >= 0) times[kind].push(elapsed);
    }
  }
  return [{ what: '`ctr run --rm` of true', unit: 'ms', ours: times.keelsond, peer: times.containerd }];
}

interface Footprint {
  readonly idle: Memory;
  readonly busy: Memory;
}

/** Memory of a fresh daemon after one pull, idle and then with `count` containers that sleep. */
async function footprint(kind: DaemonKind, image: string, count: number): Promise<Footprint> {
  await using daemon = await Daemon.start({ kind });
  const run = { directory: daemon.directory, id: '' };
  await ctr(daemon, 'images', 'pull', '--plain-http', image);
  const idle = await memoryOf(run);
  const names = Array.from({ length: count }, (_, index) => `sleep${index}`);
  for (const name of names) await ctr(daemon, 'run', '--detach', '--null-io', image, name, 'sleep', '3600');
  const busy = await memoryOf(run);
  for (const name of names) {
    await ctr(daemon, 'tasks', 'rm', '--force', name);
    await ctr(daemon, 'containers', 'rm', name);
  }
  return { idle, busy };
}

export async function benchMemory(image: string, count: number): Promise<Comparison[]> {
  const ours = await footprint('keelsond', image, count);
  const peer = await footprint('containerd', image, count);
  const rows = [
    { when: 'idle', mine: ours.idle, theirs: peer.idle },
    { when: `with ${count} containers`, mine: ours.busy, theirs: peer.busy },
  ];
  return rows.flatMap(({ when, mine, theirs }) => [
    { what: `resident memory ${when}`, unit: 'MB', ours: [mine.resident], peer: [theirs.resident] },
    { what: `proportional memory ${when}`, unit: 'MB', ours: [mine.proportional], peer: [theirs.proportional] },
  ]);
}
