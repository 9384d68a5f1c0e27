/** Pulls of one layer of 64 MB and of five of them, from a registry that gives a connection no more than 10 MB a second. */
import type { Registry } from '../test/harness/registry.js';
import { benchImage } from './image.js';
import { type Contender, PULL_OF_CTR, PULL_OF_OURS, pull } from './pull.js';
import { slowConnections } from './slow-connections.js';
import type { Comparison } from './statistics.js';

const BYTES_PER_SECOND = 10 * 2 ** 20;

const RANGES: Contender = {
  ...PULL_OF_OURS,
  config: '[plugins.distribution.config]\ndownload_chunk = 8388608\n',
};

export async function benchRanges(registry: Registry, cache: string, rounds: number): Promise<Comparison[]> {
  const rows: Comparison[] = [];
  for (const layers of [1, 5]) {
    const name = `bench-${layers}`;
    await registry.push(await benchImage(cache, layers), name);
    await using slow = await slowConnections(registry.host, BYTES_PER_SECOND);
    const reference = `${slow.host}/${name}:latest`;
    const taken: Record<'ranges' | 'plain' | 'peer', number[]> = { ranges: [], plain: [], peer: [] };
    for (let round = 0; round < rounds; round += 1) {
      taken.ranges.push((await pull(RANGES, reference)).seconds);
      taken.plain.push((await pull(PULL_OF_OURS, reference)).seconds);
      taken.peer.push((await pull(PULL_OF_CTR, reference)).seconds);
    }
    const what = `10 MB/s a connection, layers: ${layers}`;
    rows.push({ what: `${what}; \`download_chunk\` 8 MB`, unit: 's', ours: taken.ranges, peer: taken.peer });
    rows.push({ what, unit: 's', ours: taken.plain, peer: taken.peer });
  }
  return rows;
}
