/**
 * Snapshots by overlayfs. Each snapshot has a directory `<root>/snapshots/<id>`
 * with what it adds to its parent in `fs` and, while active, the kernel's
 * scratch space in `work`. Committing moves nothing.
 */
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import { overlayLowers, overlayPath } from '../../lib/linux/overlay.js';
import { SnapshotDirectories } from '../../lib/snapshot-records/directories.js';
import {
  type Layer,
  type SnapshotStorage,
  type StorageMount,
  StoredSnapshotter,
} from '../../lib/snapshot-records/snapshotter.js';
import { measureTree, type TreeUsage } from '../../lib/tree/jobs.js';

const PERMISSIONS = 0o7777;

/** The option's name, `index` of `index=off`. */
const nameOf = (option: string): string => option.split('=', 1)[0] ?? '';

export class OverlayStorage implements SnapshotStorage {
  readonly capabilities = ['rebase'];
  readonly #directories: SnapshotDirectories;
  readonly #options: readonly string[];

  constructor(root: string, options: readonly string[]) {
    this.#directories = new SnapshotDirectories(root);
    this.#options = options;
  }

  /** The configured options, and those of the probe that they do not contradict. */
  static combine(configured: readonly string[], probed: readonly string[]): readonly string[] {
    const names = new Set(configured.map(nameOf));
    return [...configured, ...probed.filter((option) => !names.has(nameOf(option)))];
  }

  // Synchronous: five calls of some microseconds each.
  async create({ id, kind, ancestors }: Layer): Promise<void> {
    const [parent] = ancestors;
    // A view on something shows its ancestors and needs no directory of its own.
    if (kind === 'view' && parent !== undefined) return;
    const model = parent === undefined ? undefined : this.#directories.rootOf(parent);
    mkdirSync(this.#directories.path(id), { mode: 0o700 });
    // First, so that a power cut leaves no place for files that cannot be mounted.
    if (kind === 'active') mkdirSync(this.#work(id), { mode: 0o711 });
    const upper = this.#directories.files(id);
    mkdirSync(upper);
    // The root of an overlay shows the attributes of its topmost directory.
    chmodSync(upper, model === undefined ? 0o755 : model.mode & PERMISSIONS);
    if (model !== undefined && (model.uid !== 0 || model.gid !== 0)) chownSync(upper, model.uid, model.gid);
  }

  measure({ id }: Layer): Promise<TreeUsage> {
    return measureTree(this.#directories.files(id));
  }

  mounts({ id, kind, ancestors }: Layer): readonly StorageMount[] {
    const [parent] = ancestors;
    if (parent === undefined) return [this.#bind(id, kind === 'view' ? 'ro' : 'rw')];
    if (kind === 'view' && ancestors.length === 1) return [this.#bind(parent, 'ro')];
    const upper =
      kind === 'active'
        ? [`workdir=${overlayPath(this.#work(id))}`, `upperdir=${overlayPath(this.#directories.files(id))}`]
        : [];
    const lowers = overlayLowers(ancestors.map((ancestor) => this.#directories.files(ancestor)));
    const options = [...upper, `lowerdir=${lowers}`, ...this.#options];
    return [{ type: 'overlay', source: 'overlay', target: '', options }];
  }

  destroy(id: number, apart = false): Promise<void> {
    return this.#directories.remove(id, apart);
  }

  ids(): Promise<readonly number[]> {
    return this.#directories.ids();
  }

  isWhole(id: number): boolean {
    return this.#directories.has(id);
  }

  #work(id: number): string {
    return join(this.#directories.path(id), 'work');
  }

  #bind(id: number, access: 'ro' | 'rw'): StorageMount {
    return { type: 'bind', source: this.#directories.files(id), target: '', options: [access, 'rbind'] };
  }
}

export interface OverlayOptions {
  /** Added to every overlay mount. */
  readonly options: readonly string[];
  readonly warn: (message: string, error: unknown) => void;
}

/** Opens the snapshots below `root` or starts anew. `close` it in the end. */
export function openOverlay(
  root: string,
  { options, warn }: OverlayOptions,
): Promise<Snapshotter & { close(): Promise<void> }> {
  const staging = join(root, 'staging');
  mkdirSync(staging, { recursive: true, mode: 0o700 });
  return StoredSnapshotter.open({ root, storage: new OverlayStorage(root, options), warn, staging });
}
