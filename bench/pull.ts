/** Pull and unpack of the bench image, cold, alternating between the daemons. */

import { run as runCommand } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import { coldCaches } from './loop-disk.js';
import { type Comparison, milliseconds } from './statistics.js';

const DIST = new URL('../../bin/dist', import.meta.url).pathname;

async function timed(kind: DaemonKind, program: string, args: readonly string[]): Promise<number> {
  await using daemon = await Daemon.start({ kind });
  await coldCaches();
  const elapsed = await milliseconds(async () => {
    const flags = ['--address', daemon.address, '--namespace', 'bench'];
    const { code, stderr, stdout } = await runCommand(program, [...flags, ...args], { timeout: 300_000 });
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} on ${kind}: ${stderr}${stdout}`);
  });
  return elapsed / 1000;
}

/** `reference`: the image in a registry on loopback. Each round starts both daemons on empty stores. */
export async function benchPull(reference: string, rounds: number): Promise<Comparison[]> {
  const daemonSide: number[] = [];
  const clientSide: number[] = [];
  const peer: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    daemonSide.push(await timed('keelsond', DIST, ['pull', '--plain-http', reference]));
    peer.push(await timed('containerd', '/usr/bin/ctr', ['images', 'pull', '--plain-http', reference]));
    clientSide.push(await timed('keelsond', '/usr/bin/ctr', ['images', 'pull', '--plain-http', reference]));
  }
  return [
    { what: 'pull + unpack: `dist pull` beside `ctr images pull`', unit: 's', ours: daemonSide, peer },
    { what: 'pull + unpack: `ctr images pull` (client-driven) on both', unit: 's', ours: clientSide, peer },
  ];
}
