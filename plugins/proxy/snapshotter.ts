/** A snapshotter in another process: `containerd.services.snapshots.v1.Snapshots` over its socket. */
import { type Info, Kind, SnapshotsDefinition } from '../../api/gen/services/snapshots.js';
import type { Labels, UpdateMask } from '../../kernel/contracts/scope.js';
import type {
  CommitSnapshot,
  Mount,
  SnapshotInfo,
  SnapshotKind,
  Snapshotter,
} from '../../kernel/contracts/snapshots.js';
import { toSize } from '../../lib/rpc/int64.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import type { Remote } from './remote.js';

const KINDS: ReadonlyMap<Kind, SnapshotKind> = new Map([
  [Kind.VIEW, 'view'],
  [Kind.ACTIVE, 'active'],
  [Kind.COMMITTED, 'committed'],
]);

export class ProxySnapshotter implements Snapshotter {
  readonly capabilities: readonly string[];
  readonly #remote: Remote;
  readonly #stub;
  /** The name by which the process is told which snapshotter is meant. */
  readonly #snapshotter: string;

  constructor(remote: Remote, capabilities: readonly string[]) {
    this.capabilities = capabilities;
    this.#remote = remote;
    this.#stub = remote.stub(SnapshotsDefinition);
    this.#snapshotter = remote.name;
  }

  async stat(key: string): Promise<SnapshotInfo> {
    const what = `stat of snapshot "${key}"`;
    const request = { snapshotter: this.#snapshotter, key };
    const { info } = await this.#remote.call(what, (options) => this.#stub.stat(request, options));
    return this.#info(info, key);
  }

  async update(key: string, labels: Labels, mask: UpdateMask = []): Promise<SnapshotInfo> {
    const request = {
      snapshotter: this.#snapshotter,
      info: { name: key, labels: { ...labels } },
      ...(mask.length > 0 && { updateMask: [...mask] }),
    };
    const what = `update of snapshot "${key}"`;
    const { info } = await this.#remote.call(what, (options) => this.#stub.update(request, options));
    return this.#info(info, key);
  }

  async usage(key: string): Promise<{ readonly inodes: number; readonly size: number }> {
    const what = `usage of snapshot "${key}"`;
    const request = { snapshotter: this.#snapshotter, key };
    const { inodes, size } = await this.#remote.call(what, (options) => this.#stub.usage(request, options));
    if (inodes < 0n || size < 0n) throw this.#remote.lie(`says that snapshot "${key}" takes less than nothing`);
    return { inodes: toSize(inodes, `inodes of "${key}"`), size: toSize(size, `size of "${key}"`) };
  }

  async mounts(key: string): Promise<readonly Mount[]> {
    const request = { snapshotter: this.#snapshotter, key };
    const what = `mounts of snapshot "${key}"`;
    return (await this.#remote.call(what, (options) => this.#stub.mounts(request, options))).mounts;
  }

  async prepare(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
    const request = { snapshotter: this.#snapshotter, key, parent, labels: { ...labels } };
    const what = `prepare of snapshot "${key}"`;
    return (await this.#remote.call(what, (options) => this.#stub.prepare(request, options))).mounts;
  }

  async view(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
    const request = { snapshotter: this.#snapshotter, key, parent, labels: { ...labels } };
    const what = `view of snapshot "${key}"`;
    return (await this.#remote.call(what, (options) => this.#stub.view(request, options))).mounts;
  }

  async commit(name: string, key: string, { labels = {}, parent = '' }: CommitSnapshot = {}): Promise<void> {
    const request = { snapshotter: this.#snapshotter, name, key, parent, labels: { ...labels } };
    await this.#remote.call(`commit of snapshot "${key}"`, (options) => this.#stub.commit(request, options));
  }

  async remove(key: string): Promise<void> {
    const request = { snapshotter: this.#snapshotter, key };
    await this.#remote.call(`removal of snapshot "${key}"`, (options) => this.#stub.remove(request, options));
  }

  async *walk(): AsyncIterable<SnapshotInfo> {
    const request = { snapshotter: this.#snapshotter };
    const answers = this.#remote.each('list of snapshots', (options) => this.#stub.list(request, options));
    for await (const { info } of answers) for (const one of info) yield this.#info(one, one.name);
  }

  async cleanup(): Promise<void> {
    const request = { snapshotter: this.#snapshotter };
    await this.#remote.call('cleanup', (options) => this.#stub.cleanup(request, options));
  }

  #info(info: Info | undefined, name: string): SnapshotInfo {
    const kind = info && KINDS.get(info.kind);
    if (info === undefined || kind === undefined) throw this.#remote.lie(`answers of "${name}" what is no snapshot`);
    if (info.name !== name) throw this.#remote.lie(`was asked about "${name}" and answers about "${info.name}"`);
    const { parent, labels } = info;
    const [createdAt, updatedAt] = [fromTimestamp(info.createdAt), fromTimestamp(info.updatedAt)];
    return { kind, name, parent, labels, createdAt, updatedAt };
  }
}
