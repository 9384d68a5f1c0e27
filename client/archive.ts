/** Images from and to tar archives, through the daemon; the archive is on this side. */
import {
  Data,
  ImageExportStream,
  ImageImportStream,
  type ImageReference,
  ImageStore,
  WindowUpdate,
} from '../api/gen/types/transfer.js';
import { packAny } from '../lib/rpc/any.js';
import { type MessageChannel, receiveBytes, sendBytes } from '../lib/rpc/byte-stream.js';
import type { Client } from './connect.js';
import { type OpenStream, type PullPlatform, runTransfer, type TransferOptions, toPlatform } from './transfer.js';

const MESSAGES = { data: Data, window: WindowUpdate };

/**
 * Bytes that the daemon may send unasked, more than an archive is likely to have: HTTP/2 holds it back already. To ask for
 * more when it has just ended would be a failed write to grpc-js, which then drops all that has not been read.
 */
const EXPORT_WINDOW = 2 ** 29;

const channelOf = ({ send, messages }: OpenStream): MessageChannel => ({
  send,
  async receive() {
    const { done, value } = await messages.next();
    return done ? undefined : value;
  },
});

export interface ImportRequest extends TransferOptions {
  readonly archive: AsyncIterable<Uint8Array>;
  /** Name of an image of the archive's whole index; none by default. */
  readonly name?: string;
  /** How its entries are named; see the contract Archives. */
  readonly names?: readonly ImageReference[];
  readonly labels?: Readonly<Record<string, string>>;
  /** What must be in it; everything when empty or absent. */
  readonly platforms?: readonly PullPlatform[];
  /** Compress the layers of Docker archives. */
  readonly compress?: boolean;
  readonly unpack?: readonly { readonly platform: PullPlatform; readonly snapshotter: string }[];
}

/** Takes in the images of an archive. */
export const importImages = (client: Client, request: ImportRequest): Promise<void> =>
  runTransfer(client, request, async ({ open }) => {
    const { archive, name = '', names = [], labels = {}, platforms = [], unpack = [] } = request;
    const stream = await open('import', (opened) => sendBytes(channelOf(opened), MESSAGES, archive));
    const store: ImageStore = {
      name,
      labels: { ...labels },
      platforms: platforms.map(toPlatform),
      allMetadata: false,
      manifestLimit: 0,
      extraReferences: [...names],
      unpacks: unpack.map(({ platform, snapshotter }) => ({ platform: toPlatform(platform), snapshotter })),
    };
    return {
      source: packAny(ImageImportStream, { stream, mediaType: '', forceCompress: request.compress ?? false }),
      destination: packAny(ImageStore, store),
    };
  });

export interface ExportRequest extends TransferOptions {
  /** Of images. */
  readonly names: readonly string[];
  /** Of an index, these; the platform of the daemon when empty or absent. */
  readonly platforms?: readonly PullPlatform[];
  readonly allPlatforms?: boolean;
  /** Leave out what only Docker needs. */
  readonly skipDockerManifest?: boolean;
  /** Takes the bytes of the archive, in order; the next ones come when it resolves. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/** Writes images as an archive, an OCI layout and a Docker archive at once. */
export const exportImages = (client: Client, request: ExportRequest): Promise<void> =>
  runTransfer(client, request, async ({ open }) => {
    const { names, platforms = [], allPlatforms = false, skipDockerManifest = false, write } = request;
    const stream = await open('export', async (opened) => {
      for await (const bytes of receiveBytes(channelOf(opened), MESSAGES, EXPORT_WINDOW)) await write(bytes);
    });
    const reference = (name: string): ImageReference => ({
      name,
      isPrefix: false,
      allowOverwrite: false,
      addDigest: false,
      skipNamedDigest: false,
    });
    const store: ImageStore = {
      name: '',
      labels: {},
      platforms: [],
      allMetadata: false,
      manifestLimit: 0,
      extraReferences: names.map(reference),
      unpacks: [],
    };
    const wanted: ImageExportStream = {
      stream,
      mediaType: '',
      platforms: platforms.map(toPlatform),
      allPlatforms,
      skipCompatibilityManifest: skipDockerManifest,
      skipNonDistributable: false,
    };
    return { source: packAny(ImageStore, store), destination: packAny(ImageExportStream, wanted) };
  });
