/** The images that stores pull while they are killed. */
import { createHash } from 'node:crypto';
import { chainIds } from '../../lib/oci/chain-id.js';
import { addImage } from '../hostile/images.js';
import type { ScriptedRegistry } from '../hostile/registry.js';
import { archive, file } from '../hostile/tar.js';
import type { PlannedImage } from './store-plan.js';

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function randomBytes(random: () => number, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)));
}

/** Three images on one base; the layers above replace a file of it. */
export function plannedImages(registry: ScriptedRegistry, random: () => number): PlannedImage[] {
  const base = randomBytes(random, 60_000);
  return ['a', 'b', 'c'].map((tag) => {
    const [own, shared] = [randomBytes(random, 120_000), randomBytes(random, 1000)];
    const layers = [
      archive(file('base', base), file('shared', 'of the base')),
      archive(file('shared', shared)),
      archive(...Array.from({ length: 20 }, (_, index) => file(`${tag}${index}`, own.subarray(index * 6000)))),
    ];
    const { manifest, config, layers: blobs, diffIds } = addImage(registry, { tag, layers });
    const files: Record<string, string> = { base: sha256(base), shared: sha256(shared) };
    for (let index = 0; index < 20; index += 1) files[`${tag}${index}`] = sha256(own.subarray(index * 6000));
    return {
      reference: `${registry.host}/team/app:${tag}`,
      digests: [manifest, config, ...blobs].map(({ digest }) => digest),
      chain: chainIds(diffIds),
      files,
    };
  });
}
