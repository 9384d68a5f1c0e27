/** containerd.types.transfer.ImageStore: images here, as the source or the destination of a transfer. */
import type { Platform as PlatformMessage } from '../../api/gen/types/platform.js';
import type { ImageStore } from '../../api/gen/types/transfer.js';
import type { PullOptions, UnpackTarget } from '../../kernel/contracts/distribution.js';
import type { Platform } from '../../kernel/contracts/scope.js';

export const toPlatform = ({ os, architecture, variant, osVersion }: PlatformMessage): Platform => ({
  os,
  architecture,
  ...(variant === '' ? {} : { variant }),
  ...(osVersion === '' ? {} : { osVersion }),
});

export const unpackTargets = ({ unpacks }: ImageStore): readonly UnpackTarget[] =>
  unpacks.map(({ platform, snapshotter }) => ({
    ...(platform === undefined ? {} : { platform: toPlatform(platform) }),
    ...(snapshotter === '' ? {} : { snapshotter }),
  }));

/** A prefix without a digest has no name to give to a pull, and is passed over. */
export function pullOptions(reference: string, store: ImageStore): PullOptions {
  const { name, labels, platforms, allMetadata, extraReferences } = store;
  return {
    names: [name === '' ? reference : name],
    extraNames: extraReferences.filter(({ isPrefix, addDigest }) => !isPrefix || addDigest),
    labels,
    platforms: platforms.length === 0 ? 'all' : platforms.map(toPlatform),
    allMetadata,
    unpack: unpackTargets(store),
  };
}
