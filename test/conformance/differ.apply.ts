/** Sound layers, and what is refused politely. */
import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '../../lib/digest.js';
import { describeTree } from '../harness/tree.js';
import { archive, device, dir, fifo, file, hardlink, opaque, symlink, whiteout } from '../hostile/tar.js';
import type { Checks } from './differ.js';
import { bind, feed, rejects } from './differ.workbench.js';

const SMALL = archive(dir('etc/'), file('etc/motd', 'welcome'), symlink('link', 'etc/motd'));

export const applyChecks: Checks = {
  'unpacks every media type it names, and tells the digest and size of the archive': async (bench, { encodings }) => {
    for (const mediaType of Object.keys(encodings)) {
      const root = bench.tree();
      const { diffId, size, unresolved } = await bench.apply(SMALL, root, { mediaType });
      assert.deepEqual(
        { diffId, size, unresolved },
        { diffId: digestOf(SMALL), size: SMALL.length, unresolved: false },
      );
      assert.equal(readFileSync(join(root, 'etc/motd'), 'utf8'), 'welcome', mediaType);
    }
  },

  'takes bytes in pieces of any length, from a buffer that is used again': async (bench) => {
    for (const step of [1, 511, 512, 513, 1 << 20]) {
      const root = bench.tree();
      assert.equal((await bench.apply(SMALL, root, {}, step)).diffId, digestOf(SMALL), `in pieces of ${step}`);
      assert.equal(readFileSync(join(root, 'link'), 'utf8'), 'welcome');
    }
  },

  'makes kinds, modes, owners, links, devices and times': async (bench) => {
    const root = bench.tree();
    const layer = archive(
      dir('d/', { mode: 0o1777, uid: 7, gid: 8, mtime: 1_500_000_000 }),
      file('d/setuid', 'x', { mode: 0o4755, uid: 1000, gid: 2000, mtime: 1_234_567_890 }),
      hardlink('d/second', 'd/setuid', { mode: 0o4755, uid: 1000, gid: 2000, mtime: 1_234_567_890 }),
      symlink('s', 'nowhere', { uid: 5, gid: 6 }),
      device('null', '3', 1, 3),
      device('disk', '4', 8, 1),
      fifo('pipe'),
    );
    await bench.apply(layer, root);
    const setuid = lstatSync(join(root, 'd/setuid'));
    assert.deepEqual(
      [setuid.mode & 0o7777, setuid.uid, setuid.gid, setuid.nlink, setuid.mtimeMs],
      [0o4755, 1000, 2000, 2, 1_234_567_890_000],
    );
    assert.equal(lstatSync(join(root, 'd/second')).ino, setuid.ino);
    const directory = lstatSync(join(root, 'd'));
    assert.deepEqual([directory.mode & 0o7777, directory.uid, directory.mtimeMs], [0o1777, 7, 1_500_000_000_000]);
    assert.equal(readlinkSync(join(root, 's')), 'nowhere');
    assert.equal(lstatSync(join(root, 's')).uid, 5);
    const nullDevice = lstatSync(join(root, 'null'));
    const disk = lstatSync(join(root, 'disk'));
    assert.ok(nullDevice.isCharacterDevice() && disk.isBlockDevice() && lstatSync(join(root, 'pipe')).isFIFO());
    assert.deepEqual([nullDevice.rdev, disk.rdev], [0x103, 0x801]);
  },

  'keeps extended attributes, long names and large owners': async (bench) => {
    const root = bench.tree();
    const long = `${'n'.repeat(120)}/${'m'.repeat(200)}`;
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex').toString('latin1');
    const records = [['SCHILY.xattr.security.capability', capability]] as const;
    await bench.apply(archive(file('f', 'x', { uid: 4_000_000 }, records), file(long, 'deep')), root);
    assert.equal(readFileSync(join(root, long), 'utf8'), 'deep');
    assert.equal(lstatSync(join(root, 'f')).uid, 4_000_000);
    const found = describeTree(root).find(({ path }) => path === 'f');
    assert.deepEqual(found?.xattrs, ['security.capability=0100000200200000000000000000000000000000']);
  },

  'makes directories that an archive only implies': async (bench) => {
    const root = bench.tree();
    await bench.apply(archive(file('a/b/c', 'x')), root);
    const { mode, uid } = statSync(join(root, 'a/b'));
    assert.deepEqual([mode & 0o777, uid], [0o755, 0]);
  },

  'removes what whiteouts name, and all that an opaque directory had': async (bench) => {
    const root = bench.tree();
    const base = archive(
      file('gone', ''),
      file('kept', ''),
      dir('d/'),
      file('d/old', ''),
      dir('e/'),
      file('e/old', ''),
    );
    await bench.apply(base, root);
    await bench.apply(archive(whiteout('gone'), whiteout('e'), dir('d/'), opaque('d'), file('d/new', '')), root);
    assert.deepEqual(readdirSync(root).sort(), ['d', 'kept']);
    assert.deepEqual(readdirSync(join(root, 'd')), ['new']);
  },

  'an opaque mark leaves what its own layer brings, also before it': async (bench) => {
    const root = bench.tree();
    await bench.apply(archive(dir('d/'), file('d/old', '')), root);
    await bench.apply(archive(dir('d/'), file('d/first', ''), opaque('d'), file('d/second', '')), root);
    assert.deepEqual(readdirSync(join(root, 'd')).sort(), ['first', 'second']);
  },

  'keeps times to the nanosecond': async (bench) => {
    const root = bench.tree();
    await bench.apply(archive(file('f', 'x', {}, [['mtime', '1234567890.123456789']])), root);
    assert.equal(lstatSync(join(root, 'f'), { bigint: true }).mtimeNs, 1_234_567_890_123_456_789n);
  },

  'puts a thing of another kind in the place of one': async (bench) => {
    const root = bench.tree();
    await bench.apply(archive(file('x', 'file'), dir('y/'), file('y/inside', ''), symlink('z', 'x')), root);
    await bench.apply(archive(dir('x/'), file('y', 'file now'), file('z', 'no link')), root);
    assert.ok(statSync(join(root, 'x')).isDirectory());
    assert.equal(readFileSync(join(root, 'y'), 'utf8'), 'file now');
    assert.ok(lstatSync(join(root, 'z')).isFile());
  },

  'unpacks an archive of nothing': async (bench) => {
    const root = bench.tree();
    const empty = archive();
    assert.equal((await bench.apply(empty, root)).diffId, digestOf(empty));
    assert.deepEqual(readdirSync(root), []);
  },

  'unpacks some megabytes, synced when asked': async (bench) => {
    const root = bench.tree();
    const data = Buffer.alloc(6_000_000, 'some text to compress ');
    await bench.apply(archive(file('big', data), file('after', 'x')), root, { sync: true });
    assert.equal(digestOf(readFileSync(join(root, 'big'))), digestOf(data));
    assert.equal(readFileSync(join(root, 'after'), 'utf8'), 'x');
  },

  'unpacks several layers at once': async (bench) => {
    const layers = Array.from({ length: 6 }, (_, index) =>
      archive(file('n', `${index}`), file('b', Buffer.alloc(300_000))),
    );
    const roots = layers.map(() => bench.tree());
    const applied = await Promise.all(layers.map((layer, index) => bench.apply(layer, roots[index] ?? '')));
    for (const [index, root] of roots.entries()) {
      assert.equal(readFileSync(join(root, 'n'), 'utf8'), `${index}`);
      assert.equal(applied[index]?.diffId, digestOf(layers[index] ?? Buffer.alloc(0)));
    }
  },

  'says UNIMPLEMENTED for a media type that is not its own': async (bench, { can }) => {
    const mounts = [bind(bench.tree())];
    for (const mediaType of ['', 'text/plain', 'application/vnd.example.unknown.layer.v1']) {
      const work = openAndEnd(bench.differ, { mediaType, mounts });
      await (can.explainRefusals ? rejects('UNIMPLEMENTED', work) : assert.rejects(work));
    }
  },

  'refuses bytes of another digest than was promised': async (bench) => {
    const digest = digestOf(Buffer.from('something else'));
    await rejects('FAILED_PRECONDITION', bench.apply(SMALL, bench.tree(), { digest }));
    const right = digestOf(bench.encode(SMALL));
    assert.equal((await bench.apply(SMALL, bench.tree(), { digest: right })).diffId, digestOf(SMALL));
  },

  'refuses a broken archive': async (bench, { can }) => {
    const cut = archive(file('whole', 'x'), file('cut', 'y'.repeat(5000))).subarray(0, 3000);
    for (const broken of [Buffer.alloc(4096, 'not a tar archive'), cut]) {
      const work = bench.apply(broken, bench.tree());
      await (can.explainRefusals ? rejects('INVALID_ARGUMENT', work) : assert.rejects(work));
    }
  },

  'can be aborted at any time, more than once, and forgets the layer': async (bench) => {
    const root = bench.tree();
    const layer = bench.encode(SMALL);
    for (const written of [0, 1, layer.length]) {
      const sink = await bench.differ.open({ mediaType: bench.mediaType, mounts: [bind(root)] });
      if (written > 0) await sink.write(layer.subarray(0, written));
      await sink.abort();
      await sink.abort();
    }
    assert.equal((await bench.apply(SMALL, root)).diffId, digestOf(SMALL));
  },

  'a detached layer says whether it could do without its parents': async (bench, { can }) => {
    if (!can.detach) return;
    const alone = await bench.apply(archive(dir('a/'), file('a/b', 'x')), bench.tree(), { detached: true });
    assert.equal(alone.unresolved, false);
    const linked = await bench.apply(archive(hardlink('second', 'of the parent')), bench.tree(), { detached: true });
    assert.equal(linked.unresolved, true);
  },

  'leaves alone what the layer does not name': async (bench) => {
    const root = bench.tree();
    writeFileSync(join(root, 'here'), 'before', { mode: 0o600 });
    await bench.apply(SMALL, root);
    assert.equal(readFileSync(join(root, 'here'), 'utf8'), 'before');
    assert.ok(existsSync(join(root, 'etc/motd')));
  },
};

/** Some differs say so when the layer is opened, others when they see its first bytes. */
async function openAndEnd(
  differ: Parameters<Checks[string]>[0]['differ'],
  layer: Parameters<typeof differ.open>[0],
): Promise<void> {
  const sink = await differ.open(layer);
  await feed(sink, SMALL, SMALL.length);
}
