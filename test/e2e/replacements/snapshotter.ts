/** A snapshotter written from its contract alone: a directory for each snapshot, copied whole; one file says what they are. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { Labels, UpdateMask } from '../../../kernel/contracts/scope.js';
import {
  type CommitSnapshot,
  type Mount,
  type SnapshotInfo,
  type SnapshotKind,
  type Snapshotter,
  Snapshotters,
  type Usage,
} from '../../../kernel/contracts/snapshots.js';
import { alreadyExists, failedPrecondition, invalidArgument, notFound, unimplemented } from '../../../kernel/errors.js';
import { definePlugin } from '../../../kernel/plugin.js';

const program = promisify(execFile);

const records = z.array(
  z.object({
    kind: z.enum(['view', 'active', 'committed']),
    name: z.string(),
    parent: z.string(),
    labels: z.record(z.string(), z.string()),
    createdAt: z.coerce.bigint(),
    updatedAt: z.coerce.bigint(),
    directory: z.string(),
  }),
);

type Record = z.output<typeof records>[number];

const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

const infoOf = ({ directory: _, ...info }: Record): SnapshotInfo => info;

function changed(labels: Labels, given: Labels, path: string): Labels {
  if (path === 'labels') return given;
  if (!path.startsWith('labels.')) throw invalidArgument(`field "${path}" of a snapshot cannot be updated`);
  const name = path.slice('labels.'.length);
  const others = Object.entries(labels).filter(([key]) => key !== name);
  const own = Object.entries(given).filter(([key, value]) => key === name && value !== '');
  return Object.fromEntries([...others, ...own]);
}

export class PlainSnapshotter implements Snapshotter {
  readonly capabilities = [];
  readonly #root: string;
  readonly #records: Map<string, Record>;
  #next: number;
  /** One call after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(root: string, found: readonly Record[]) {
    this.#root = root;
    this.#records = new Map(found.map((record) => [record.name, record]));
    this.#next = 1 + Math.max(0, ...found.map(({ directory }) => Number(directory)));
  }

  static async open(root: string): Promise<PlainSnapshotter> {
    await mkdir(root, { recursive: true });
    const text = await readFile(join(root, 'records.json'), 'utf8').catch(() => '[]');
    return new PlainSnapshotter(root, records.parse(JSON.parse(text)));
  }

  async stat(key: string): Promise<SnapshotInfo> {
    return infoOf(this.#record(key));
  }

  update(key: string, labels: Labels, mask: UpdateMask = []): Promise<SnapshotInfo> {
    return this.#inTurn(async () => {
      const record = this.#record(key);
      const paths = mask.length === 0 ? ['labels'] : mask;
      const updated = paths.reduce<Labels>((so, path) => changed(so, labels, path), record.labels);
      this.#records.set(key, { ...record, labels: { ...updated }, updatedAt: now() });
      await this.#save();
      return infoOf(this.#record(key));
    });
  }

  async usage(key: string): Promise<Usage> {
    const place = this.#place(this.#record(key));
    const { stdout } = await program('du', ['-s', '--block-size=1', place]);
    const { stdout: inodes } = await program('du', ['-s', '--inodes', place]);
    return { size: Number.parseInt(stdout, 10), inodes: Number.parseInt(inodes, 10) };
  }

  async mounts(key: string): Promise<readonly Mount[]> {
    return this.#mountsOf(this.#record(key));
  }

  prepare(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
    return this.#inTurn(() => this.#make('active', key, parent, labels));
  }

  view(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
    return this.#inTurn(() => this.#make('view', key, parent, labels));
  }

  commit(name: string, key: string, { labels = {}, parent }: CommitSnapshot = {}): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseTaken(name);
      const record = this.#record(key);
      if (record.kind !== 'active') throw failedPrecondition(`snapshot "${key}" is not active`);
      if (parent && record.parent !== '' && parent !== record.parent)
        throw invalidArgument(`snapshot "${key}" was prepared on "${record.parent}"`);
      if (parent && record.parent === '') throw unimplemented('a snapshot gets no other parent when it is committed');
      this.#records.delete(key);
      this.#records.set(name, { ...record, name, kind: 'committed', labels: { ...labels }, updatedAt: now() });
      await this.#save();
    });
  }

  remove(key: string): Promise<void> {
    return this.#inTurn(async () => {
      const record = this.#record(key);
      if ([...this.#records.values()].some(({ parent }) => parent === key))
        throw failedPrecondition(`snapshot "${key}" has children`);
      this.#records.delete(key);
      await this.#save();
      await this.#removeFiles(record.directory);
    });
  }

  async *walk(): AsyncIterable<SnapshotInfo> {
    for (const record of [...this.#records.values()]) yield infoOf(record);
  }

  cleanup(): Promise<void> {
    return this.#inTurn(async () => {
      const known = new Set([...this.#records.values()].map(({ directory }) => directory));
      for (const name of await readdir(this.#root))
        if (/^\d+$/.test(name) && !known.has(name)) await this.#removeFiles(name);
    });
  }

  /** What is mounted inside is no part of the snapshot: its files stay until a cleanup finds nothing there. */
  async #removeFiles(directory: string): Promise<void> {
    const place = join(this.#root, directory);
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    if (mounts.includes(` ${place}/`)) return;
    await rm(place, { recursive: true, force: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EBUSY') throw error;
    });
  }

  async #make(kind: SnapshotKind, key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
    this.#refuseTaken(key);
    const base = parent === '' ? undefined : this.#record(parent);
    if (base !== undefined && base.kind !== 'committed') throw invalidArgument(`snapshot "${parent}" is not committed`);
    const time = now();
    const directory = String(this.#next++);
    const record = { kind, name: key, parent, labels: { ...labels }, createdAt: time, updatedAt: time, directory };
    if (base === undefined) await mkdir(this.#place(record), { mode: 0o755 });
    else await program('cp', ['-a', this.#place(base), this.#place(record)]);
    this.#records.set(key, record);
    await this.#save();
    return this.#mountsOf(record);
  }

  #mountsOf(record: Record): readonly Mount[] {
    if (record.kind === 'committed') throw failedPrecondition(`snapshot "${record.name}" is committed`);
    const options = ['rbind', record.kind === 'view' ? 'ro' : 'rw'];
    return [{ type: 'bind', source: this.#place(record), target: '', options }];
  }

  #place({ directory }: Pick<Record, 'directory'>): string {
    return join(this.#root, directory);
  }

  #record(key: string): Record {
    const record = this.#records.get(key);
    if (record === undefined) throw notFound(`snapshot "${key}" not found`);
    return record;
  }

  #refuseTaken(key: string): void {
    if (key === '') throw invalidArgument('a snapshot needs a key');
    if (this.#records.has(key)) throw alreadyExists(`snapshot "${key}" already exists`);
  }

  async #save(): Promise<void> {
    const file = join(this.#root, 'records.json');
    const plain = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);
    await writeFile(`${file}.new`, JSON.stringify([...this.#records.values()], plain));
    await rename(`${file}.new`, file);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }
}

/** Under the name of the snapshotter that it takes the place of. */
export const plugin = definePlugin({
  id: 'plain-snapshotter',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'overlayfs' },
  config: z.object({}).strict(),
  requires: {},
  provides: { snapshotter: Snapshotters },
  start: async ({ rootDir }) => ({ snapshotter: await PlainSnapshotter.open(rootDir()) }),
});
