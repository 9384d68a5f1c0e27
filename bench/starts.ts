/** Many containers started at once, by several clients. */
import { Limit } from '../lib/limit.js';
import type { Daemon, DaemonKind } from '../test/harness/daemon.js';
import { ctr, KINDS } from './execution.js';
import { type Comparison, milliseconds } from './statistics.js';

/** Containers of a round, and clients that start them side by side. */
const COUNT = 50;
const CLIENTS = 8;

export const namesOf = (prefix: string, from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `${prefix}${from + index}`);

/** `run --detach` of containers that sleep. */
export async function startAll(
  daemon: Daemon,
  image: string,
  names: readonly string[],
  clients = CLIENTS,
): Promise<void> {
  const limit = new Limit(clients);
  const flags = ['run', '--detach', '--null-io', image];
  await Promise.all(names.map((name) => limit.run(() => ctr(daemon, ...flags, name, 'sleep', '3600'))));
}

export async function removeAll(daemon: Daemon, names: readonly string[]): Promise<void> {
  const limit = new Limit(CLIENTS);
  const remove = async (name: string): Promise<void> => {
    await ctr(daemon, 'tasks', 'rm', '--force', name);
    await ctr(daemon, 'containers', 'rm', name);
  };
  await Promise.all(names.map((name) => limit.run(() => remove(name))));
}

/** Detached starts by Debian's ctr, alternating, on daemons that have run a container before. */
export async function benchStarts(
  daemons: Readonly<Record<DaemonKind, Daemon>>,
  image: string,
  rounds: number,
): Promise<Comparison[]> {
  const times: Record<DaemonKind, number[]> = { keelsond: [], containerd: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of KINDS) {
      const names = namesOf(`many${round}-`, 0, COUNT);
      times[kind].push((await milliseconds(() => startAll(daemons[kind], image, names))) / 1000);
      await removeAll(daemons[kind], names);
    }
  }
  return [
    { what: `${COUNT} detached starts, ${CLIENTS} clients`, unit: 's', ours: times.keelsond, peer: times.containerd },
  ];
}
