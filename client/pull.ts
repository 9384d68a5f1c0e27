/** Images from and to registries, through the daemon. */
import { ImageStore } from '../api/gen/types/transfer.js';
import { packAny } from '../lib/rpc/any.js';
import type { Client } from './connect.js';
import { type PullPlatform, type RegistryOptions, runTransfer, type TransferOptions, toPlatform } from './transfer.js';

export interface PullRequest extends RegistryOptions, TransferOptions {
  /** Name of the image; the reference by default. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Every platform when empty or absent. */
  readonly platforms?: readonly PullPlatform[];
  /** What to unpack, and for which snapshotter (empty: the daemon's default); nothing by default. */
  readonly unpack?: readonly { readonly platform: PullPlatform; readonly snapshotter: string }[];
}

/**
 * Pulls an image, unpacks it where asked, and resolves once the daemon has
 * recorded it. Errors are the daemon's, by the taxonomy.
 */
export const pullImage = (client: Client, request: PullRequest): Promise<void> =>
  runTransfer(client, request, async ({ registry }) => ({
    source: await registry(request),
    destination: packAny(ImageStore, toStore(request)),
  }));

export interface PushRequest extends RegistryOptions, TransferOptions {
  /** Name of the image here; the reference by default. */
  readonly name?: string;
  /** Everything the image refers to when empty or absent. */
  readonly platforms?: readonly PullPlatform[];
}

/** Pushes an image to the registry and the name that the reference says. */
export const pushImage = (client: Client, request: PushRequest): Promise<void> =>
  runTransfer(client, request, async ({ registry }) => ({
    source: packAny(ImageStore, toStore(request)),
    destination: await registry(request),
  }));

type StoreRequest = Omit<PullRequest, keyof TransferOptions>;

const toStore = ({ reference, name = reference, labels, platforms = [], unpack = [] }: StoreRequest): ImageStore => ({
  name,
  labels: { ...labels },
  platforms: platforms.map(toPlatform),
  allMetadata: false,
  manifestLimit: 0,
  extraReferences: [],
  unpacks: unpack.map(({ platform, snapshotter }) => ({ platform: toPlatform(platform), snapshotter })),
});
