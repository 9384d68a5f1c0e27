/** From prepare to remove, and every refusal on the way. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from './snapshotter.js';
import { rejects, type Workbench } from './snapshotter.workbench.js';

const FOO = (root: string): void => writeFileSync(join(root, 'foo'), 'foo');

/** A committed base, an active snapshot and a view on it. */
async function family({ layer, snapshotter }: Pick<Workbench, 'layer' | 'snapshotter'>): Promise<void> {
  await layer('base', '', FOO);
  await snapshotter.prepare('active', 'base');
  await snapshotter.view('view', 'base');
}

const familyOf = (bench: Workbench): Promise<void> =>
  family({ layer: bench.layer.bind(bench), snapshotter: bench.snapshotter });

export const lifecycleChecks: Checks = {
  'prepares an empty writable directory, root 0755, owned by root': async (bench) => {
    const mounts = await bench.snapshotter.prepare('key', '');
    await bench.inside(mounts, (root) => {
      assert.deepEqual(readdirSync(root), []);
      const { mode, uid, gid } = statSync(root);
      assert.deepEqual([mode & 0o7777, uid, gid], [0o755, 0, 0]);
      FOO(root);
    });
    assert.ok(mounts.length > 0);
  },

  'keeps what was written for the next mount': async (bench) => {
    await bench.inside(await bench.snapshotter.prepare('key', ''), FOO);
    const text = await bench.inside(await bench.snapshotter.mounts('key'), (root) => readFileSync(join(root, 'foo')));
    assert.equal(String(text), 'foo');
  },

  'gives the mounts of prepare again, and those of view': async (bench) => {
    await bench.layer('base', '');
    const prepared = await bench.snapshotter.prepare('active', 'base');
    const viewed = await bench.snapshotter.view('view', 'base');
    assert.deepEqual(await bench.snapshotter.mounts('active'), prepared);
    assert.deepEqual(await bench.snapshotter.mounts('view'), viewed);
  },

  'has no mounts for what is committed or unknown': async (bench) => {
    await bench.layer('base', '');
    await rejects('FAILED_PRECONDITION', bench.snapshotter.mounts('base'));
    await rejects('NOT_FOUND', bench.snapshotter.mounts('nothing'));
  },

  'tells kind, name, parent and times': async (bench) => {
    const before = BigInt(Date.now()) * 1_000_000n;
    await familyOf(bench);
    for (const [name, kind, parent] of [
      ['base', 'committed', ''],
      ['active', 'active', 'base'],
      ['view', 'view', 'base'],
    ]) {
      const info = await bench.snapshotter.stat(name ?? '');
      assert.deepEqual([info.name, info.kind, info.parent], [name, kind, parent]);
      assert.ok(info.createdAt >= before && info.updatedAt >= info.createdAt, `times of ${name}`);
    }
    await rejects('NOT_FOUND', bench.snapshotter.stat('nothing'));
  },

  'follows parents': async (bench) => {
    await bench.layer('a', '');
    await bench.layer('b', 'a');
    await bench.layer('c', 'b');
    const parents = await Promise.all(['a', 'b', 'c'].map((name) => bench.snapshotter.stat(name)));
    assert.deepEqual(
      parents.map(({ parent }) => parent),
      ['', 'a', 'b'],
    );
  },

  'forgets the key when it is committed, and takes it again': async (bench) => {
    await bench.snapshotter.prepare('key', '');
    await bench.snapshotter.commit('name', 'key');
    await rejects('NOT_FOUND', bench.snapshotter.stat('key'));
    await bench.snapshotter.prepare('key', 'name');
    assert.equal((await bench.snapshotter.stat('key')).kind, 'active');
  },

  'refuses a key or name that is taken': async (bench) => {
    await familyOf(bench);
    for (const taken of ['base', 'active', 'view']) {
      await rejects('ALREADY_EXISTS', bench.snapshotter.prepare(taken, 'base'));
      await rejects('ALREADY_EXISTS', bench.snapshotter.view(taken, 'base'));
      await rejects('ALREADY_EXISTS', bench.snapshotter.prepare(taken, ''));
    }
    await bench.snapshotter.prepare('other', '');
    for (const taken of ['base', 'active', 'view', 'other']) {
      await rejects('ALREADY_EXISTS', bench.snapshotter.commit(taken, 'other'));
    }
    assert.deepEqual(await bench.names(), ['active', 'base', 'other', 'view']);
    assert.equal((await bench.snapshotter.stat('other')).kind, 'active');
  },

  'refuses an empty key or name': async (bench) => {
    await rejects('INVALID_ARGUMENT', bench.snapshotter.prepare('', ''));
    await bench.snapshotter.prepare('key', '');
    await rejects('INVALID_ARGUMENT', bench.snapshotter.commit('', 'key'));
    assert.deepEqual(await bench.names(), ['key']);
  },

  'refuses a parent that is unknown or not committed, and leaves nothing': async (bench) => {
    await familyOf(bench);
    for (const make of ['prepare', 'view'] as const) {
      await rejects('NOT_FOUND', bench.snapshotter[make]('new', 'nothing'));
      await rejects('INVALID_ARGUMENT', bench.snapshotter[make]('new', 'active'));
      await rejects('INVALID_ARGUMENT', bench.snapshotter[make]('new', 'view'));
    }
    assert.deepEqual(await bench.names(), ['active', 'base', 'view']);
  },

  'commits active snapshots only': async (bench) => {
    await familyOf(bench);
    await rejects('FAILED_PRECONDITION', bench.snapshotter.commit('new', 'view'));
    await rejects('FAILED_PRECONDITION', bench.snapshotter.commit('new', 'base'));
    await rejects('NOT_FOUND', bench.snapshotter.commit('new', 'nothing'));
    assert.deepEqual(await bench.names(), ['active', 'base', 'view']);
  },

  'removes children before parents only': async (bench) => {
    await familyOf(bench);
    await bench.layer('next', 'base');
    for (const child of ['active', 'view', 'next']) {
      await rejects('FAILED_PRECONDITION', bench.snapshotter.remove('base'));
      await bench.snapshotter.remove(child);
      await rejects('NOT_FOUND', bench.snapshotter.stat(child));
    }
    await bench.snapshotter.remove('base');
    await rejects('NOT_FOUND', bench.snapshotter.remove('base'));
    assert.deepEqual(await bench.names(), []);
  },

  'starts empty under a key that was removed': async (bench) => {
    await bench.inside(await bench.snapshotter.prepare('key', ''), FOO);
    await bench.snapshotter.remove('key');
    const mounts = await bench.snapshotter.prepare('key', '');
    assert.deepEqual(await bench.inside(mounts, (root) => readdirSync(root)), []);
  },

  'views read-only, whatever the number of layers': async (bench) => {
    await bench.layer('one', '', FOO);
    await bench.layer('two', 'one', (root) => writeFileSync(join(root, 'bar'), ''));
    for (const parent of ['', 'one', 'two']) {
      const mounts = await bench.snapshotter.view(`view of "${parent}"`, parent);
      await bench.inside(mounts, (root) => {
        assert.throws(() => writeFileSync(join(root, 'new'), ''), { code: 'EROFS' });
        assert.equal(existsSync(join(root, 'foo')), parent !== '');
      });
    }
  },

  'walks over everything, as stat tells it, also while it changes': async (bench) => {
    await familyOf(bench);
    for (let index = 0; index < 20; index += 1) await bench.snapshotter.view(`view ${index}`, 'base');
    const seen: string[] = [];
    for await (const info of bench.snapshotter.walk()) {
      assert.deepEqual(info, await bench.snapshotter.stat(info.name));
      if (info.kind === 'view') await bench.snapshotter.remove(info.name);
      seen.push(info.name);
    }
    assert.equal(new Set(seen).size, 23);
    assert.deepEqual(await bench.names(), ['active', 'base']);
  },

  'keeps everything over a restart': async (bench) => {
    await familyOf(bench);
    await bench.inside(await bench.snapshotter.mounts('active'), (root) => writeFileSync(join(root, 'bar'), 'bar'));
    await bench.snapshotter.view('gone', 'base');
    await bench.snapshotter.remove('gone');
    const before = await bench.walked();
    const usage = await bench.snapshotter.usage('base');
    await bench.restart();
    assert.deepEqual(await bench.walked(), before);
    assert.deepEqual(await bench.snapshotter.usage('base'), usage);
    const files = await bench.inside(await bench.snapshotter.mounts('active'), (root) => readdirSync(root));
    assert.deepEqual(files.sort(), ['bar', 'foo']);
    await bench.snapshotter.commit('next', 'active');
    assert.deepEqual(await bench.look('next', (root) => readdirSync(root).sort()), ['bar', 'foo']);
  },

  'takes any key, and makes no path of it': async (bench) => {
    const around = readdirSync(join(bench.root, '..'));
    const odd = ['../../../etc', '/etc/passwd', 'a/b', '.', '..', 'ns/1/k ey', "'; --", 'nl\n', 'ü\u{1f980}', '%00'];
    const keys = [...odd, 'x'.repeat(2000), 'snapshots', 'metadata.db', '1', '-', '__proto__'];
    for (const key of keys) {
      await bench.inside(await bench.snapshotter.prepare(key, ''), (root) => writeFileSync(join(root, 'key'), key));
      await bench.snapshotter.commit(`${key} committed`, key);
      const text = await bench.look(`${key} committed`, (root) => readFileSync(join(root, 'key'), 'utf8'));
      assert.equal(text, key);
    }
    assert.equal((await bench.names()).length, keys.length);
    assert.deepEqual(readdirSync(join(bench.root, '..')), around);
  },

  'cleans up what was removed and nothing else': async (bench) => {
    await familyOf(bench);
    await bench.inside(await bench.snapshotter.prepare('gone', 'base'), FOO);
    await bench.snapshotter.remove('gone');
    await bench.snapshotter.cleanup();
    await bench.snapshotter.cleanup();
    for (const key of ['active', 'view']) {
      const files = await bench.inside(await bench.snapshotter.mounts(key), (root) => readdirSync(root));
      assert.deepEqual(files, ['foo']);
    }
  },

  'rebases, or says that it cannot': async (bench, can) => {
    await bench.layer('base', '', FOO);
    await bench.inside(await bench.snapshotter.prepare('key', ''), (root) => writeFileSync(join(root, 'bar'), ''));
    assert.equal(bench.snapshotter.capabilities.includes('rebase'), can.rebase);
    if (!can.rebase) {
      await rejects('UNIMPLEMENTED', bench.snapshotter.commit('name', 'key', { parent: 'base' }));
      assert.equal((await bench.snapshotter.stat('key')).kind, 'active');
      return;
    }
    await bench.snapshotter.prepare('other', '');
    await rejects('NOT_FOUND', bench.snapshotter.commit('name', 'key', { parent: 'nothing' }));
    await rejects('INVALID_ARGUMENT', bench.snapshotter.commit('name', 'key', { parent: 'other' }));
    await bench.snapshotter.commit('name', 'key', { parent: 'base' });
    assert.equal((await bench.snapshotter.stat('name')).parent, 'base');
    await rejects('FAILED_PRECONDITION', bench.snapshotter.remove('base'));
    assert.deepEqual(await bench.look('name', (root) => readdirSync(root).sort()), ['bar', 'foo']);
  },

  'keeps the parent that a snapshot was prepared on': async (bench) => {
    await bench.layer('a', '');
    await bench.layer('b', '');
    await bench.snapshotter.prepare('key', 'a');
    await rejects('INVALID_ARGUMENT', bench.snapshotter.commit('name', 'key', { parent: 'b' }));
    await bench.snapshotter.commit('name', 'key', { parent: 'a' });
    assert.equal((await bench.snapshotter.stat('name')).parent, 'a');
  },
};
