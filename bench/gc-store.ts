/** The store that bench/gc.ts collects: images of ten blobs and two snapshots each, all tied together by labels. */
import { WriteAction, WriteContentRequest } from '../api/gen/services/content.js';
import { CreateImageRequest, DeleteImageRequest } from '../api/gen/services/images.js';
import { CreateRequest, DeleteRequest } from '../api/gen/services/leases.js';
import { CommitSnapshotRequest, PrepareSnapshotRequest } from '../api/gen/services/snapshots.js';
import { digestOf } from '../lib/digest.js';
import type { MessageCodec } from '../lib/rpc/definition.js';
import { framed, inParallel, Wire } from './wire.js';

/** Blobs of an image besides its manifest. */
export const LAYERS = 9;
export const SNAPSHOTS = 2;

const SNAPSHOTTER = 'overlayfs';
const LEASE = 'filling';

/** Calls at a time. */
const WIDTH = 24;

interface Codec<T> extends MessageCodec<T> {
  fromPartial(message: Partial<T>): T;
}

export class Filler implements Disposable {
  readonly #wire: Wire;

  constructor(socket: string) {
    this.#wire = new Wire(socket, { 'containerd-namespace': 'bench', 'containerd-lease': LEASE });
  }

  [Symbol.dispose](): void {
    this.#wire[Symbol.dispose]();
  }

  /** Puts so many images there. Nothing holds them afterwards but their names. */
  async fill(images: number): Promise<void> {
    await this.#call('leases.v1.Leases/Create', CreateRequest, { id: LEASE });
    await inParallel(WIDTH, images, (index) => this.#image(index));
    await this.#call('leases.v1.Leases/Delete', DeleteRequest, { id: LEASE, sync: false });
  }

  /** Deletes the names of the first so many images. */
  async forget(images: number): Promise<void> {
    await inParallel(WIDTH, images, (index) =>
      this.#call('images.v1.Images/Delete', DeleteImageRequest, { name: `image-${index}` }),
    );
  }

  async #image(index: number): Promise<void> {
    const top = await this.#snapshots(index);
    const labels: Record<string, string> = { [`containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`]: top };
    for (let layer = 0; layer < LAYERS; layer += 1) {
      labels[`containerd.io/gc.ref.content.l.${layer}`] = await this.#blob(`layer ${layer} of image ${index}`);
    }
    const manifest = `manifest of image ${index}`;
    const digest = await this.#blob(manifest, labels);
    const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: BigInt(manifest.length) };
    const image = { name: `image-${index}`, target: { ...target, annotations: {} } };
    await this.#call('images.v1.Images/Create', CreateImageRequest, CreateImageRequest.fromPartial({ image }));
  }

  async #snapshots(index: number): Promise<string> {
    let parent = '';
    for (let layer = 0; layer < SNAPSHOTS; layer += 1) {
      const name = `sha256:${index}-${layer}`;
      const key = `extract ${name}`;
      const request = { snapshotter: SNAPSHOTTER, key, parent };
      await this.#call('snapshots.v1.Snapshots/Prepare', PrepareSnapshotRequest, request);
      await this.#call('snapshots.v1.Snapshots/Commit', CommitSnapshotRequest, { snapshotter: SNAPSHOTTER, name, key });
      parent = name;
    }
    return parent;
  }

  async #blob(text: string, labels: Record<string, string> = {}): Promise<string> {
    const data = Buffer.from(text);
    const expected = digestOf(data);
    const whole = { ref: text, total: BigInt(data.byteLength), expected, data, labels };
    const request = { action: WriteAction.COMMIT, ...whole };
    await this.#call('content.v1.Content/Write', WriteContentRequest, request);
    return expected;
  }

  #call<T>(method: string, codec: Codec<T>, request: Partial<T>): Promise<void> {
    const bytes = codec.encode(codec.fromPartial(request)).finish();
    return this.#wire.call(`/containerd.services.${method}`, framed(bytes));
  }
}
