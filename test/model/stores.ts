/** A content store and a snapshotter in memory, so that a hundred thousand steps take seconds. */
import { createHash } from 'node:crypto';
import type { BlobWriter, ContentStore, IngestStatus, OpenWriter } from '../../kernel/contracts/content.js';
import type { SnapshotInfo, Snapshotter } from '../../kernel/contracts/snapshots.js';
import { alreadyExists, failedPrecondition, internal, invalidArgument, notFound } from '../../kernel/errors.js';

const times = { createdAt: 0n, updatedAt: 0n };

const hash = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function existing<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw notFound(`${what} not found`);
  return value;
}

const unused = (): never => {
  throw internal('not needed here');
};

export class StoreInMemory implements ContentStore {
  readonly blobs = new Map<string, Buffer>();
  readonly ingests = new Map<string, Buffer>();

  async info(digest: string) {
    return { digest, size: existing(this.blobs.get(digest), digest).byteLength, ...times };
  }

  async *walk() {
    for (const [digest, { byteLength }] of this.blobs) yield { digest, size: byteLength, ...times };
  }

  reader = unused;

  async writer({ ref, total = 0, expected = '' }: OpenWriter): Promise<BlobWriter> {
    const bytes = (): Buffer => existing(this.ingests.get(ref), ref);
    this.ingests.set(ref, this.ingests.get(ref) ?? Buffer.alloc(0));
    return {
      status: () => ({ ref, offset: bytes().byteLength, total, expected, startedAt: 0n, updatedAt: 0n }),
      digest: () => hash(bytes()),
      write: async (chunk) => void this.ingests.set(ref, Buffer.concat([bytes(), chunk])),
      truncate: async (size) => void this.ingests.set(ref, bytes().subarray(0, size)),
      commit: async () => {
        const blob = bytes();
        const digest = hash(blob);
        this.ingests.delete(ref);
        if (this.blobs.has(digest)) throw alreadyExists(digest);
        this.blobs.set(digest, blob);
        return { digest, size: blob.byteLength, ...times };
      },
      close: async () => undefined,
    };
  }

  async delete(digest: string) {
    existing(this.blobs.get(digest), digest);
    this.blobs.delete(digest);
  }

  async status(ref: string): Promise<IngestStatus> {
    const offset = existing(this.ingests.get(ref), ref).byteLength;
    return { ref, offset, total: 0, expected: '', startedAt: 0n, updatedAt: 0n };
  }

  async statuses() {
    return Promise.all([...this.ingests.keys()].map((ref) => this.status(ref)));
  }

  async abort(ref: string) {
    existing(this.ingests.get(ref), ref);
    this.ingests.delete(ref);
  }
}

export class SnapshotterInMemory implements Snapshotter {
  readonly capabilities = [];
  readonly snapshots = new Map<string, SnapshotInfo>();

  async stat(key: string) {
    return existing(this.snapshots.get(key), key);
  }

  async update(key: string) {
    return this.stat(key);
  }

  usage = unused;
  mounts = unused;
  view = unused;

  async prepare(name: string, parent: string) {
    if (this.snapshots.has(name)) throw alreadyExists(name);
    if (parent !== '' && (await this.stat(parent)).kind !== 'committed') throw invalidArgument(parent);
    this.snapshots.set(name, { kind: 'active', name, parent, labels: {}, ...times });
    return [];
  }

  async commit(name: string, key: string) {
    const active = await this.stat(key);
    if (this.snapshots.has(name)) throw alreadyExists(name);
    this.snapshots.delete(key);
    this.snapshots.set(name, { ...active, name, kind: 'committed' });
  }

  async remove(key: string) {
    await this.stat(key);
    for (const { parent } of this.snapshots.values())
      if (parent === key) throw failedPrecondition(`${key} has children`);
    this.snapshots.delete(key);
  }

  async *walk() {
    yield* [...this.snapshots.values()];
  }

  async cleanup() {}
}
