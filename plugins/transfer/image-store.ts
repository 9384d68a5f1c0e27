/** containerd.types.transfer.ImageStore as the destination of a pull. */
import type { Platform as PlatformMessage } from '../../api/gen/types/platform.js';
import type { ImageStore } from '../../api/gen/types/transfer.js';
import type { PullOptions } from '../../kernel/contracts/distribution.js';
import type { Platform } from '../../kernel/contracts/scope.js';
import { unimplemented } from '../../kernel/errors.js';

const toPlatform = ({ os, architecture, variant, osVersion }: PlatformMessage): Platform => ({
  os,
  architecture,
  ...(variant === '' ? {} : { variant }),
  ...(osVersion === '' ? {} : { osVersion }),
});

/** UNIMPLEMENTED for references that are prefixes: they belong to imports. */
export function pullOptions(reference: string, store: ImageStore): PullOptions {
  const { name, labels, platforms, allMetadata, extraReferences, unpacks } = store;
  const prefix = extraReferences.find(({ isPrefix }) => isPrefix);
  if (prefix) throw unimplemented(`the extra reference "${prefix.name}" is a prefix, which a pull has no use for`);
  return {
    names: [name === '' ? reference : name, ...extraReferences.map((extra) => extra.name)],
    labels,
    platforms: platforms.length === 0 ? 'all' : platforms.map(toPlatform),
    allMetadata,
    unpack: unpacks.map(({ platform, snapshotter }) => ({
      ...(platform === undefined ? {} : { platform: toPlatform(platform) }),
      ...(snapshotter === '' ? {} : { snapshotter }),
    })),
  };
}
