/** Layers made of differences: applied to the lower tree they give the upper one. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { ContentInfo } from '../../kernel/contracts/content.js';
import type { CompareTrees } from '../../kernel/contracts/diff.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { mountsWithin, withMounts } from '../../lib/linux/mount.js';
import { OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD } from '../../lib/oci/media-types.js';
import { copyTree } from '../../lib/tree/jobs.js';
import { succeed } from '../../test/harness/command.js';
import { MemoryContent } from '../../test/harness/content.js';
import { imageLayout } from '../../test/harness/images.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { describeTree, type TreeEntry, treeDifferences } from '../../test/harness/tree.js';
import { bind, TestDiffer } from '../../test/harness/unpack.js';
import { LayerComparer } from './compare/compare.js';

const SCOPE = { namespace: 'test' };

let dir: Scratch;
let differ: TestDiffer;
before(async () => {
  dir = await scratch('compare');
  differ = new TestDiffer({}, dir.path);
});
after(async () => {
  assert.deepEqual(mountsWithin(dir.path), []);
  assert.deepEqual([...differ.content.ingests.keys()], []);
  await differ[Symbol.asyncDispose]();
  await dir[Symbol.asyncDispose]();
});

/** Once, if told so, a collection comes between finding that a blob is there and asking about it. */
class CollectedAtOnce extends MemoryContent {
  collects = false;

  override async info(scope: Scope, digest: string): Promise<ContentInfo> {
    if (this.collects) this.collects = !this.blobs.delete(digest);
    return super.info(scope, digest);
  }
}

const bytesOf = ({ digest }: Descriptor): Buffer => differ.content.blobs.get(digest)?.bytes ?? Buffer.alloc(0);

/** What the layer makes of the tree that it was compared with. */
async function applied(layer: Descriptor, lower: string | undefined, place: string): Promise<TreeEntry[]> {
  mkdirSync(place, { mode: 0o755 });
  if (lower !== undefined) await copyTree(lower, place);
  await differ.apply(bytesOf(layer), { mounts: [bind(place)], mediaType: layer.mediaType });
  return describeTree(place, { withoutRoot: true });
}

/** Directory times change with what is in them, and count as no change; times before 1970 are unpacked as 1970. */
const comparable = (entries: readonly TreeEntry[]): TreeEntry[] =>
  entries.map((entry) => (entry.type === 'directory' || entry.mtime < 0n ? { ...entry, mtime: 0n } : entry));

const names = (layer: Descriptor): string[] => {
  const tar = layer.mediaType === OCI_LAYER_GZIP ? gunzipSync(bytesOf(layer)) : bytesOf(layer);
  return execFileSync('tar', ['-tf', '-'], { input: tar, encoding: 'utf8' }).trim().split('\n');
};

const compare = (trees: CompareTrees): Promise<Descriptor> => differ.differ.compare(SCOPE, trees);

describe('two plain trees', () => {
  let lower: string;
  let upper: string;

  before(async () => {
    lower = join(dir.path, 'lower');
    upper = join(dir.path, 'upper');
    const script = join(import.meta.dirname, '../../../test/harness/odd-files.sh');
    mkdirSync(lower);
    await succeed('sh', [script, lower, join(dir.path, 'unused')]);
    mkdirSync(upper);
    await copyTree(lower, upper);
    const odd = join(upper, 'odd');
    rmSync(join(odd, 'names'), { recursive: true });
    rmSync(join(odd, 'sizes/small'));
    writeFileSync(join(odd, 'sizes/empty'), 'no longer');
    rmSync(join(odd, 'replaced/dir-to-file'), { recursive: true });
    writeFileSync(join(odd, 'replaced/dir-to-file'), 'file');
    rmSync(join(odd, 'replaced/file-to-dir'));
    mkdirSync(join(odd, 'replaced/file-to-dir/in'), { recursive: true });
    chmodSync(join(odd, 'modes/file-0644'), 0o4711);
    execFileSync('setfattr', ['-n', 'user.new', '-v', 'value', join(odd, 'attributes/directory')]);
    execFileSync('mknod', [join(odd, 'devices/null-too'), 'c', '1', '3']);
    linkSync(join(odd, 'links/first'), join(odd, 'links/another'));
    symlinkSync('somewhere', join(odd, 'new-link'));
    writeFileSync(join(odd, Buffer.from('new-\xff', 'latin1').toString('latin1')), 'x');
    execFileSync('sh', ['-c', 'echo a >"$1/$(printf "bytes-\\377\\376")"', 'sh', odd]);
    writeFileSync(join(odd, `long-${'x'.repeat(200)}`), 'long');
    execFileSync('chown', ['3000000000:4000000000', join(odd, 'new-link'), '-h']);
    mkdirSync(join(upper, 'new/deep/er'), { recursive: true });
    writeFileSync(join(upper, 'new/deep/er/file'), Buffer.alloc(600_000, 'data'));
    linkSync(join(upper, 'new/deep/er/file'), join(upper, 'new/deep/linked'));
  });

  for (const mediaType of [OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD]) {
    test(`the layer makes the upper tree of the lower one, as ${mediaType}`, async () => {
      const layer = await compare({ lower: [bind(lower)], upper: [bind(upper)], mediaType });
      const tree = await applied(layer, lower, join(dir.path, `applied-${mediaType.slice(-4)}`));
      assert.deepEqual(treeDifferences(comparable(tree), comparable(describeTree(upper, { withoutRoot: true }))), []);
      const blob = differ.content.blobs.get(layer.digest);
      assert.equal(layer.size, blob?.bytes.length);
      if (mediaType === OCI_LAYER) assert.equal(blob?.labels['containerd.io/uncompressed'], layer.digest);
    });
  }

  test('only what changed is in the layer, with the directories that hold it', async () => {
    const listed = names(await compare({ lower: [bind(lower)], upper: [bind(upper)] }));
    assert.ok(listed.includes('odd/.wh.names'));
    assert.ok(listed.includes('odd/sizes/.wh.small'));
    assert.ok(!listed.some((name) => name.startsWith('odd/names/')), 'a deleted directory is one entry');
    assert.ok(!listed.includes('odd/sizes/full') && !listed.includes('odd/times/epoch'));
    assert.equal(listed.filter((name) => name === 'odd/').length, 1);
    // A new name of an old file: all its names, or they would be two files.
    assert.deepEqual(listed.filter((name) => name.startsWith('odd/links/')).sort(), [
      'odd/links/',
      'odd/links/another',
      'odd/links/first',
      'odd/links/second',
      'odd/links/third',
    ]);
  });

  test('the label of the uncompressed layer is its digest; other labels are kept', async () => {
    const layer = await compare({ lower: [], upper: [bind(upper)], labels: { mine: 'kept' } });
    const labels = differ.content.blobs.get(layer.digest)?.labels;
    assert.equal(layer.mediaType, OCI_LAYER_GZIP);
    assert.deepEqual(labels, { mine: 'kept', 'containerd.io/uncompressed': digestOf(gunzipSync(bytesOf(layer))) });
    const tree = await applied(layer, undefined, join(dir.path, 'from-nothing'));
    assert.deepEqual(treeDifferences(comparable(tree), comparable(describeTree(upper, { withoutRoot: true }))), []);
  });

  test('an epoch makes it reproducible: later times are that time, and the bytes are the same', async () => {
    const again = join(dir.path, 'again');
    mkdirSync(again);
    await copyTree(upper, again);
    utimesSync(join(again, 'new/deep/er/file'), 2e9, 2e9);
    const sourceDateEpoch = 1_000_000_000n * 1_000_000_000n;
    const layers = [upper, again].map((tree) => compare({ lower: [], upper: [bind(tree)], sourceDateEpoch }));
    const [one, two] = await Promise.all(layers);
    assert.equal(one?.digest, two?.digest);
    const tree = one ? await applied(one, undefined, join(dir.path, 'clamped')) : [];
    assert.ok(tree.every(({ mtime }) => mtime <= sourceDateEpoch));
  });

  test('no difference is an empty layer', async () => {
    const layer = await compare({ lower: [bind(lower)], upper: [bind(lower)], mediaType: OCI_LAYER });
    assert.deepEqual(bytesOf(layer), Buffer.alloc(1024));
  });

  test('refused: other media types; a tree that is not there leaves no ingest behind', async () => {
    const refused = compare({ lower: [], upper: [bind(upper)], mediaType: 'text/plain' });
    await assert.rejects(refused, (error) => hasCode(error, 'UNIMPLEMENTED'));
    const missing = compare({ lower: [], upper: [bind(join(dir.path, 'missing'))] });
    await assert.rejects(missing, (error) => hasCode(error, 'NOT_FOUND'));
  });

  test('a layer that is there already, and collected before it can be told of, is made again', async () => {
    const content = new CollectedAtOnce();
    const comparer = new LayerComparer(content, dir.path);
    const trees = { lower: [bind(lower)], upper: [bind(upper)], sourceDateEpoch: 0n };
    const first = await comparer.compare(SCOPE, trees);
    content.collects = true;
    assert.deepEqual(await comparer.compare(SCOPE, trees), first);
    assert.ok(content.blobs.has(first.digest));
    assert.equal(content.collects, false);
    assert.deepEqual([...content.ingests.keys()], []);
  });

  test('a given ref starts over, and stays for another try when this one fails', async () => {
    differ.content.ingests.set('mine', Buffer.from('left over'));
    const layer = await compare({ lower: [], upper: [bind(lower)], ref: 'mine', mediaType: OCI_LAYER });
    assert.ok(names(layer).includes('odd/'));
    const missing = compare({ lower: [], upper: [bind(join(dir.path, 'missing'))], ref: 'mine' });
    await assert.rejects(missing);
    assert.ok(differ.content.ingests.delete('mine'));
  });
});

describe('overlays', () => {
  test('the layer of a changed overlay makes on its lower layers what the overlay shows', async () => {
    const place = join(dir.path, 'overlay');
    for (const name of ['one', 'two', 'upper', 'work']) mkdirSync(join(place, name), { recursive: true });
    const layout = await imageLayout('busybox');
    await succeed('umoci', ['unpack', '--image', `${layout}:latest`, join(place, 'bundle')], { timeout: 60_000 });
    await copyTree(join(place, 'bundle/rootfs'), join(place, 'one'));
    writeFileSync(join(place, 'two/lower-two'), 'x');
    mkdirSync(join(place, 'two/gone/inside'), { recursive: true });
    writeFileSync(join(place, 'two/gone/inside/file'), 'x');
    const lowers = `${place}/two:${place}/one`;
    const options = [`lowerdir=${lowers}`, `upperdir=${place}/upper`, `workdir=${place}/work`];
    const upper: Mount[] = [{ type: 'overlay', source: 'overlay', target: '', options }];
    const lower: Mount[] = [{ type: 'overlay', source: 'overlay', target: '', options: [`lowerdir=${lowers}`] }];
    await withMounts(
      upper,
      (root) => {
        rmSync(join(root, 'lower-two'));
        rmSync(join(root, 'gone'), { recursive: true });
        mkdirSync(join(root, 'gone/new'), { recursive: true });
        writeFileSync(join(root, 'gone/new/file'), 'y');
        writeFileSync(join(root, 'added'), 'z');
        linkSync(join(root, 'added'), join(root, 'added-too'));
        chmodSync(join(root, 'bin'), 0o711);
      },
      { directory: dir.path },
    );
    const expected = await withMounts(upper, (root) => describeTree(root, { withoutRoot: true }), {
      directory: dir.path,
    });
    const fast = await compare({ lower, upper });
    for (const name of ['added', 'added-too', '.wh.lower-two']) assert.ok(names(fast).includes(name), name);
    assert.ok(names(fast).includes('gone/.wh..wh..opq'));
    // Without the lower mounts being those of the overlay, it has to be mounted and compared entry by entry.
    const merged = join(place, 'merged');
    mkdirSync(merged);
    await withMounts(lower, (root) => copyTree(root, merged), { directory: dir.path });
    const slow = await compare({ lower: [bind(merged)], upper });
    assert.ok(names(slow).includes('gone/.wh.inside'));
    for (const [name, layer] of Object.entries({ fast, slow })) {
      const tree = await applied(layer, merged, join(place, `applied-${name}`));
      assert.deepEqual(treeDifferences(comparable(tree), comparable(expected)), [], name);
    }
    assert.deepEqual(
      readdirSync(dir.path).filter((name) => name.startsWith('mount-')),
      [],
    );
  });

  test('an upper directory that refers to other places is compared as it is seen', async () => {
    const place = join(dir.path, 'redirected');
    for (const name of ['one', 'upper', 'work', 'one/old']) mkdirSync(join(place, name), { recursive: true });
    writeFileSync(join(place, 'one/old/file'), 'content');
    const options = [`lowerdir=${place}/one`, `upperdir=${place}/upper`, `workdir=${place}/work`];
    const mountsWith = (...more: string[]): Mount[] => [
      { type: 'overlay', source: 'overlay', target: '', options: [...options, ...more] },
    ];
    await withMounts(
      mountsWith('redirect_dir=on', 'metacopy=on'),
      (root) => {
        execFileSync('mv', [join(root, 'old'), join(root, 'new')]);
        chmodSync(join(root, 'new/file'), 0o600);
      },
      { directory: dir.path },
    );
    const layer = await compare({
      lower: [bind(`${place}/one`)],
      upper: mountsWith('redirect_dir=on', 'metacopy=on'),
    });
    const tree = await applied(layer, `${place}/one`, join(place, 'applied'));
    assert.deepEqual(
      tree.map(({ path, mode, size }) => [path, mode, size]),
      [
        ['new', '40755', 0],
        ['new/file', '100600', 7],
      ],
    );
  });
});

test('a large comparison leaves the event loop free', async () => {
  const place = join(dir.path, 'large');
  for (let index = 0; index < 60; index++) {
    mkdirSync(join(place, `d${index}`), { recursive: true });
    for (let file = 0; file < 50; file++) writeFileSync(join(place, `d${index}/f${file}`), `${index} ${file}`);
  }
  const copy = join(dir.path, 'large-copy');
  cpSync(place, copy, { recursive: true, preserveTimestamps: true });
  let most = 0;
  let running = true;
  let last = process.threadCpuUsage();
  const watch = (): void => {
    const now = process.threadCpuUsage();
    most = Math.max(most, now.user + now.system - last.user - last.system);
    last = now;
    if (running) setImmediate(watch);
  };
  setImmediate(watch);
  await compare({ lower: [bind(place)], upper: [bind(copy)] });
  running = false;
  assert.ok(most < 20_000, `${most} µs`);
});
