/** Chain IDs (OCI image-spec, config.md, "Layer ChainID"): the name of the filesystem a stack of layers makes. */
import { digestOf } from '../digest.js';

/** One chain ID for each layer, base first; the base's is its diffID. */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}
