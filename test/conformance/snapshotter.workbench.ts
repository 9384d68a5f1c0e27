/** What the checks of the snapshotter kit work with: a subject in a directory of its own, and layers made by mounting. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount, SnapshotInfo, Snapshotter } from '../../kernel/contracts/snapshots.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { withMounts } from '../../lib/linux/mount.js';
import type { Subject } from './runner.js';

export interface OpenSnapshotter {
  readonly snapshotter: Snapshotter;
  close(): Promise<void>;
}

export interface SnapshotterSubject extends Subject {
  /** A new empty directory in which the subject can keep snapshots; disposal removes it. */
  directory(): Promise<AsyncDisposable & { readonly path: string }>;
  /** A snapshotter in that directory; called again on the same directory it is the same one, restarted. */
  open(root: string): Promise<OpenSnapshotter>;
  /** What it can. Checked either way: what it cannot do must be refused. */
  readonly can: {
    /** Commit on a parent other than none that it was prepared on: capability `rebase`. */
    readonly rebase: boolean;
    /** rename(2) of a directory that came from a parent (overlayfs answers EXDEV without `redirect_dir`). */
    readonly renameParentsDirectory: boolean;
    /** A file of a parent with two names is still one file after it was written to (overlayfs splits it). */
    readonly writeThroughParentsHardlinks: boolean;
    /** Times of files are exact; else they are rounded down to the second (filesystems through FUSE may do so). */
    readonly exactTimes: boolean;
  };
}

/** Prefix of the labels that reach a backend. */
export const LABEL = 'containerd.io/snapshot/';

export type Change = (root: string) => Promise<void> | void;

export const rejects = (code: ErrorCode, work: Promise<unknown>): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    return true;
  });

export class Workbench implements AsyncDisposable {
  readonly #subject: SnapshotterSubject;
  readonly #directory: AsyncDisposable & { readonly path: string };
  readonly root: string;
  /** For mount points and whatever else a check needs. */
  readonly work: string;
  #open: OpenSnapshotter;

  private constructor(
    subject: SnapshotterSubject,
    directory: AsyncDisposable & { readonly path: string },
    open: OpenSnapshotter,
  ) {
    this.#subject = subject;
    this.#directory = directory;
    this.root = join(directory.path, 'root');
    this.work = join(directory.path, 'work');
    this.#open = open;
  }

  static async open(subject: SnapshotterSubject): Promise<Workbench> {
    const directory = await subject.directory();
    try {
      await mkdir(join(directory.path, 'root'), { mode: 0o700 });
      await mkdir(join(directory.path, 'work'));
      return new Workbench(subject, directory, await subject.open(join(directory.path, 'root')));
    } catch (error) {
      await directory[Symbol.asyncDispose]();
      throw error;
    }
  }

  get snapshotter(): Snapshotter {
    return this.#open.snapshotter;
  }

  /** As after a restart of the daemon. */
  async restart(): Promise<void> {
    await this.#open.close();
    this.#open = await this.#subject.open(this.root);
  }

  inside<T>(mounts: readonly Mount[], work: (root: string) => Promise<T> | T): Promise<T> {
    return withMounts(mounts, work, { directory: this.work });
  }

  /** Prepares on `parent`, changes what is mounted, commits as `name`. */
  async layer(name: string, parent: string, change: Change = () => undefined): Promise<void> {
    const key = `${name} in the making`;
    await this.inside(await this.snapshotter.prepare(key, parent), change);
    await this.snapshotter.commit(name, key);
  }

  /** Looks at a committed snapshot through a view that is removed again. */
  async look<T>(name: string, work: (root: string) => Promise<T> | T): Promise<T> {
    const key = `look at ${name}`;
    const mounts = await this.snapshotter.view(key, name);
    try {
      return await this.inside(mounts, work);
    } finally {
      await this.snapshotter.remove(key);
    }
  }

  async walked(): Promise<SnapshotInfo[]> {
    const infos: SnapshotInfo[] = [];
    for await (const info of this.snapshotter.walk()) infos.push(info);
    return infos.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async names(): Promise<string[]> {
    return (await this.walked()).map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#open.close();
    } finally {
      await this.#directory[Symbol.asyncDispose]();
    }
  }
}
