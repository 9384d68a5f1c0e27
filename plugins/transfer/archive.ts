/** Archives over streams: containerd.types.transfer.ImageImportStream and ImageExportStream. */
import {
  Data,
  type ImageExportStream,
  type ImageImportStream,
  type ImageReference,
  type ImageStore,
  WindowUpdate,
} from '../../api/gen/types/transfer.js';
import type { Archives, ImportOptions } from '../../kernel/contracts/archives.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import type { MessageStream } from '../../kernel/contracts/streams.js';
import { unimplemented } from '../../kernel/errors.js';
import { receiveBytes, sendBytes } from '../../lib/rpc/byte-stream.js';
import { toPlatform, unpackTargets } from './image-store.js';
import type { ProgressSender } from './progress.js';

const MESSAGES = { data: Data, window: WindowUpdate };

export async function importArchive(
  archives: Archives,
  scope: Scope,
  { forceCompress }: ImageImportStream,
  stream: MessageStream,
  store: ImageStore,
  progress: ProgressSender,
): Promise<void> {
  const { name, labels, platforms, allMetadata, extraReferences } = store;
  const options: ImportOptions = {
    name,
    labels,
    names: extraReferences,
    platforms: platforms.length === 0 ? 'all' : platforms.map(toPlatform),
    allMetadata,
    compress: forceCompress,
    unpack: unpackTargets(store),
    onProgress: (report) => progress.send(report),
  };
  try {
    await archives.import(scope, receiveBytes(stream, MESSAGES), options);
  } finally {
    stream.close();
  }
}

export async function exportArchive(
  archives: Archives,
  scope: Scope,
  { name, extraReferences }: ImageStore,
  wanted: ImageExportStream,
  stream: MessageStream,
  progress: ProgressSender,
): Promise<void> {
  const say = (event: string) => progress.send({ event, name: '', parents: [], progress: 0, total: 0 });
  const names = [...(name === '' ? [] : [name]), ...extraReferences.map(fullName)];
  const { platforms, allPlatforms, skipCompatibilityManifest: skipDockerManifest, skipNonDistributable } = wanted;
  const options = { platforms: platforms.map(toPlatform), allPlatforms, skipDockerManifest, skipNonDistributable };
  try {
    say('Exporting');
    await sendBytes(stream, MESSAGES, archives.export(scope, names, options));
    say('Completed export');
  } finally {
    stream.close();
  }
}

function fullName({ name, isPrefix }: ImageReference): string {
  if (isPrefix) throw unimplemented(`the reference "${name}" is a prefix, which an export has no use for`);
  return name;
}
