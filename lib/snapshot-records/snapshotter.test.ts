import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { internal } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { type SnapshotStorage, StoredSnapshotter } from './snapshotter.js';

/** Storage in memory whose calls can be made to fail. */
class FakeStorage implements SnapshotStorage {
  readonly capabilities = [];
  readonly stored = new Set<number>();
  readonly failing = new Set<keyof SnapshotStorage>();

  async create({ id }: { readonly id: number }): Promise<void> {
    this.stored.add(id);
    this.#mayFail('create');
  }

  async measure(): Promise<{ inodes: number; size: number }> {
    this.#mayFail('measure');
    return { inodes: 1, size: 1 };
  }

  async freeze(): Promise<void> {
    this.#mayFail('freeze');
  }

  mounts(): [] {
    return [];
  }

  async destroy(id: number): Promise<void> {
    this.#mayFail('destroy');
    this.stored.delete(id);
  }

  async ids(): Promise<readonly number[]> {
    this.#mayFail('ids');
    return [...this.stored];
  }

  #mayFail(call: keyof SnapshotStorage): void {
    if (this.failing.has(call)) throw internal(`${call} fails`);
  }
}

async function withFake(
  work: (snapshotter: StoredSnapshotter, storage: FakeStorage, warnings: string[]) => Promise<void>,
  storage = new FakeStorage(),
): Promise<void> {
  await using directory = await scratch('stored');
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const snapshotter = await StoredSnapshotter.open({ root: directory.path, storage, warn });
  try {
    await work(snapshotter, storage, warnings);
  } finally {
    await snapshotter.close();
  }
}

const names = async (snapshotter: StoredSnapshotter): Promise<string[]> => {
  const found: string[] = [];
  for await (const { name } of snapshotter.walk()) found.push(name);
  return found;
};

describe('a stored snapshotter', () => {
  it('flushes a new snapshot while others work, for those who ask for it', () =>
    withFake(async (snapshotter) => {
      const flushes: Promise<void>[] = [];
      await snapshotter.prepare('key', '', {}, { onDisk: (flushed) => flushes.push(flushed) });
      assert.equal((await snapshotter.stat('key')).kind, 'active');
      assert.deepEqual(await Promise.all(flushes), [undefined]);
    }));

  it('leaves nothing of a prepare whose storage failed', () =>
    withFake(async (snapshotter, storage) => {
      storage.failing.add('create');
      await assert.rejects(snapshotter.prepare('key', ''), { message: 'create fails' });
      assert.deepEqual([await names(snapshotter), storage.stored.size], [[], 0]);
    }));

  it('does not measure again what was measured for the commit', () =>
    withFake(async (snapshotter, storage) => {
      await snapshotter.prepare('key', '');
      storage.failing.add('measure');
      const usage = { inodes: 7, size: 4096 };
      await snapshotter.commit('name', 'key', { usage });
      assert.deepEqual(await snapshotter.usage('name'), usage);
    }));

  it('makes a view that need not last: there as any other, and gone when removed', () =>
    withFake(async (snapshotter) => {
      await snapshotter.prepare('key', '');
      await snapshotter.commit('name', 'key');
      await snapshotter.view('look', 'name', {}, { lasting: false });
      const { kind, parent } = await snapshotter.stat('look');
      assert.deepEqual([kind, parent], ['view', 'name']);
      await assert.rejects(snapshotter.remove('name'), { code: 'FAILED_PRECONDITION' });
      await snapshotter.remove('look');
      await snapshotter.remove('name');
      assert.deepEqual(await names(snapshotter), []);
    }));

  it('keeps an active snapshot that could not be measured', () =>
    withFake(async (snapshotter, storage) => {
      await snapshotter.prepare('key', '');
      storage.failing.add('measure');
      await assert.rejects(snapshotter.commit('name', 'key'), { message: 'measure fails' });
      assert.deepEqual(await names(snapshotter), ['key']);
    }));

  it('tells of storage that stays writable, and of leftovers that stay, and tries those again', () =>
    withFake(async (snapshotter, storage, warnings) => {
      await snapshotter.prepare('key', '');
      storage.failing.add('freeze').add('destroy');
      await snapshotter.commit('name', 'key');
      await snapshotter.remove('name');
      await snapshotter.cleanup();
      assert.match(warnings[0] ?? '', /"name" is committed, but .* read-only/);
      assert.match(warnings[1] ?? '', /storage 1 .* cannot be deleted/);
      storage.failing.clear();
      await snapshotter.cleanup();
      assert.equal(storage.stored.size, 0);
    }));

  it('cleans up again after a cleanup that failed', () =>
    withFake(async (snapshotter, storage) => {
      storage.failing.add('ids');
      await assert.rejects(snapshotter.cleanup(), { message: 'ids fails' });
      storage.failing.clear();
      await snapshotter.cleanup();
    }));

  it('deletes leftovers when it is opened, and gives their ids to nobody', async () => {
    const storage = new FakeStorage();
    storage.stored.add(7);
    await withFake(async (snapshotter) => {
      await snapshotter.prepare('key', '');
      await snapshotter.cleanup();
      assert.deepEqual([...storage.stored], [8]);
    }, storage);
  });
});

async function openOnBoot(
  root: string,
  boot: string,
  storage = new FakeStorage(),
  warn: (message: string) => void = (message) => assert.fail(message),
): Promise<StoredSnapshotter> {
  process.env.KEELSON_TEST_BOOT_ID = boot;
  try {
    return await StoredSnapshotter.open({ root, storage, warn });
  } finally {
    delete process.env.KEELSON_TEST_BOOT_ID;
  }
}

describe('files of committed snapshots', () => {
  it('are in doubt after another boot until they have been flushed, which happens by itself', async () => {
    await using directory = await scratch('stored');
    const flushed = Promise.withResolvers<void>();
    const storage = new FakeStorage();
    const first = await openOnBoot(directory.path, 'one', storage);
    for (const [name, parent] of [
      ['base', ''],
      ['top', 'base'],
    ] as const) {
      await first.prepare('key', parent);
      await first.commit(name, 'key');
    }
    await first.close();
    const doubtful = await openOnBoot(directory.path, 'two', storage);
    assert.deepEqual(doubtful.unsynced(), ['base', 'top']);
    await doubtful.remove('top');
    assert.deepEqual(doubtful.unsynced(), ['base']);
    const filled: string[] = [];
    await doubtful.rebuild('base', async () => void filled.push('base'));
    assert.deepEqual([filled, doubtful.unsynced()], [['base'], []]);
    Object.assign(storage, { flush: async () => flushed.resolve() });
    await doubtful.prepare('key', 'base');
    await doubtful.commit('again', 'key');
    await flushed.promise;
    await doubtful.close();
    const third = await openOnBoot(directory.path, 'three', storage);
    assert.deepEqual(third.unsynced(), []);
    await third.close();
  });
});

describe('lost storage of active snapshots', () => {
  it('is made again once nothing below is in doubt', async () => {
    await using directory = await scratch('stored');
    const storage = new FakeStorage();
    const first = await openOnBoot(directory.path, 'one', storage);
    await first.prepare('key', '');
    await first.commit('base', 'key');
    await first.prepare('alone', '');
    await first.prepare('on base', 'base');
    await first.prepare('removed', 'base');
    await first.close();
    storage.stored.clear();
    const told: string[] = [];
    const second = await openOnBoot(directory.path, 'two', storage, (message) => told.push(message));
    assert.deepEqual([...storage.stored], [2]);
    assert.match(told.join('\n'), /^snapshot "alone" is as new again: its files were lost/);
    await second.remove('removed');
    const inDoubt: string[] = [];
    const create = storage.create.bind(storage);
    storage.create = async (layer) => {
      inDoubt.push(`${layer.id}: ${second.unsynced()}`);
      await create(layer);
    };
    await second.rebuild('base', async () => assert.deepEqual([...storage.stored], [2, 1]));
    // Who waits for the end of the doubt finds the storage there.
    assert.deepEqual(inDoubt, ['1: base', '3: base']);
    assert.deepEqual([...storage.stored], [2, 1, 3]);
    assert.equal(told.length, 2);
    await second.close();
  });

  it('that cannot be made again is told of, and hinders nobody', async () => {
    const storage = new FakeStorage();
    await using directory = await scratch('stored');
    const first = await openOnBoot(directory.path, 'one', storage);
    await first.prepare('key', '');
    await first.close();
    storage.stored.clear();
    storage.failing.add('create');
    const told: string[] = [];
    const second = await openOnBoot(directory.path, 'two', storage, (message) => told.push(message));
    await second.remove('key');
    assert.match(told.join('\n'), /^the storage of snapshot "key" is missing and cannot be made again/);
    await second.close();
  });
});
