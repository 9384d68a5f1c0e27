/** From the pair of source and destination to the contract's call. */
import type { Logger } from 'pino';
import type { TransferRequest } from '../../api/gen/services/transfer.js';
import { ImageExportStream, ImageImportStream, ImageStore, OCIRegistry } from '../../api/gen/types/transfer.js';
import type { Archives } from '../../kernel/contracts/archives.js';
import type { Distribution } from '../../kernel/contracts/distribution.js';
import type { Images } from '../../kernel/contracts/images.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import type { MessageStream, Streams } from '../../kernel/contracts/streams.js';
import { hasCode, invalidArgument, unimplemented } from '../../kernel/errors.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { exportArchive, importArchive } from './archive.js';
import { pullOptions, toPlatform } from './image-store.js';
import { ProgressSender } from './progress.js';
import { registryAccess } from './registry.js';

export interface TransferServices {
  readonly archives: Archives;
  readonly distribution: Distribution;
  readonly images: Images;
  readonly streams: Streams;
}

/**
 * Pulls, pushes, imports, exports, or gives an image another name.
 * UNIMPLEMENTED, naming both types, for every other pair.
 */
export async function transfer(
  services: TransferServices,
  log: Logger,
  scope: Scope,
  request: TransferRequest,
): Promise<void> {
  const { source, destination, options } = request;
  if (!source || !destination) throw invalidArgument('a transfer needs a source and a destination');
  const id = options?.progressStream ?? '';
  const stream = id === '' ? undefined : services.streams.get(scope, id);
  const progress = new ProgressSender(stream, log);
  try {
    await dispatch(services, scope, source, destination, progress);
  } finally {
    await progress.end();
    stream?.close();
  }
}

async function dispatch(
  services: TransferServices,
  scope: Scope,
  source: AnyMessage,
  destination: AnyMessage,
  progress: ProgressSender,
): Promise<void> {
  if (isAny(ImageStore, destination)) {
    const store = unpackAny(ImageStore, destination);
    if (isAny(OCIRegistry, source)) return pull(services, scope, unpackAny(OCIRegistry, source), store, progress);
    if (isAny(ImageStore, source)) return tag(services.images, scope, unpackAny(ImageStore, source).name, store);
    if (isAny(ImageImportStream, source)) {
      const wanted = unpackAny(ImageImportStream, source);
      const stream = services.streams.get(scope, wanted.stream);
      return importArchive(services.archives, scope, wanted, stream, store, progress);
    }
  }
  if (isAny(ImageStore, source)) {
    const store = unpackAny(ImageStore, source);
    if (isAny(OCIRegistry, destination))
      return push(services, scope, store, unpackAny(OCIRegistry, destination), progress);
    if (isAny(ImageExportStream, destination)) {
      const wanted = unpackAny(ImageExportStream, destination);
      const stream = services.streams.get(scope, wanted.stream);
      return exportArchive(services.archives, scope, store, wanted, stream, progress);
    }
  }
  throw unimplemented(`a transfer from "${source.typeUrl}" to "${destination.typeUrl}" is not available`, {
    remedy: 'pull, push, import, export and tag are',
  });
}

const streamOf = (streams: Streams, scope: Scope, id = ''): MessageStream | undefined =>
  id === '' ? undefined : streams.get(scope, id);

async function pull(
  { distribution, streams }: TransferServices,
  scope: Scope,
  { reference, resolver }: OCIRegistry,
  store: ImageStore,
  progress: ProgressSender,
): Promise<void> {
  const authStream = streamOf(streams, scope, resolver?.authStream);
  try {
    await distribution.pull(scope, reference, {
      ...registryAccess(resolver, authStream),
      ...pullOptions(reference, store),
      onProgress: (report) => progress.send(report),
    });
  } finally {
    authStream?.close();
  }
}

async function push(
  { distribution, images, streams }: TransferServices,
  scope: Scope,
  { name, platforms }: ImageStore,
  { reference, resolver }: OCIRegistry,
  progress: ProgressSender,
): Promise<void> {
  const authStream = streamOf(streams, scope, resolver?.authStream);
  try {
    const { target } = await images.get(scope, name);
    await distribution.push(scope, reference, target, {
      ...registryAccess(resolver, authStream),
      platforms: platforms.length === 0 ? 'all' : platforms.map(toPlatform),
      onProgress: (report) => progress.send(report),
    });
  } finally {
    authStream?.close();
  }
}

/** The image of one name gets another name too. */
async function tag(images: Images, scope: Scope, from: string, { name, labels }: ImageStore): Promise<void> {
  const { target } = await images.get(scope, from);
  const image = { name, target, labels };
  try {
    await images.create(scope, image);
  } catch (error) {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
    await images.update(scope, image);
  }
}
