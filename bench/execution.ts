/** Daemon start, and one container at a time. */
import { watch } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { Background } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import { scratch } from '../test/harness/scratch.js';
import { type Comparison, milliseconds } from './statistics.js';

export const KINDS = ['keelsond', 'containerd'] as const satisfies readonly DaemonKind[];

/** Debian's ctr, which must succeed. */
export const ctr = async (daemon: Daemon, ...args: readonly string[]): Promise<void> => {
  const { code, stderr } = await daemon.ctr('bench').run(args, { timeout: 120_000 });
  if (code !== 0) throw new Error(`ctr ${args.join(' ')} on ${daemon.kind}: ${stderr}`);
};

const accepts = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path, () => resolve(true)).once('error', () => resolve(false));
    // Left open it would hold up the end of containerd, which waits for the first bytes of every connection.
    socket.once('connect', () => socket.destroy());
  });

/** Resolves once something accepts connections at the socket. Told by its directory: asking all the time would slow the daemon. */
async function accepting(path: string): Promise<void> {
  const watching = new AbortController();
  const changes = watch(dirname(path), { signal: watching.signal });
  try {
    if (await accepts(path)) return;
    for await (const { filename } of changes) {
      if (filename !== basename(path)) continue;
      // Between its creation and its first `listen` a socket refuses.
      while (!(await accepts(path)));
      return;
    }
  } finally {
    watching.abort();
  }
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

/** As service managers start daemons: with this variable, which is meant for programs of this machine's users, Node reads certificates first. */
const SERVICE = { NODE_EXTRA_CA_CERTS: '' };

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
      started = new Background(program, flags, { cwd: directory.path, env: SERVICE });
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
