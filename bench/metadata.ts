/** Durable creations of records over gRPC, sixteen at a time, on both daemons with the same client program. */
import { succeed } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import type { PutFigures } from './metadata-client.js';
import type { Comparison } from './statistics.js';

const CLIENT = new URL('metadata-client.js', import.meta.url).pathname;
const CLIENTS = 16;
/** Ours does more in the same time, so that both are measured for some seconds. */
const COUNT: Readonly<Record<DaemonKind, number>> = { keelsond: 30_000, containerd: 6000 };
/** Not measured: both programs are compiled while they run. */
const WARM_UP = 3000;

async function round(kind: DaemonKind): Promise<PutFigures> {
  await using daemon = await Daemon.start({ kind });
  const puts = async (namespace: string, count: number): Promise<PutFigures> => {
    const args = [CLIENT, daemon.address, namespace, String(CLIENTS), String(count)];
    return JSON.parse(await succeed(process.execPath, args, { timeout: 120_000 }));
  };
  await puts('warm', WARM_UP);
  return await puts('bench', COUNT[kind]);
}

export async function benchMetadata(rounds: number): Promise<Comparison[]> {
  const figures: Record<DaemonKind, PutFigures[]> = { keelsond: [], containerd: [] };
  for (let index = 0; index < rounds; index += 1) {
    for (const kind of ['keelsond', 'containerd'] as const) figures[kind].push(await round(kind));
  }
  const compare = (what: string, unit: string, value: (figure: PutFigures) => number): Comparison => ({
    what: `durable metadata puts, ${CLIENTS} clients: ${what}`,
    unit,
    ours: figures.keelsond.map(value),
    peer: figures.containerd.map(value),
  });
  return [
    compare('rate', '/s', ({ rate }) => rate),
    compare('median', 'ms', ({ p50 }) => p50),
    compare('99th percentile', 'ms', ({ p99 }) => p99),
  ];
}
