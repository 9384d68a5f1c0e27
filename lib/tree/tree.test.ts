import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { zoo } from '../../test/conformance/zoo.js';
import { filesystemMissing, loopFilesystem } from '../../test/harness/loop.js';
import { scratch } from '../../test/harness/scratch.js';
import { describeTree, treeDifferences } from '../../test/harness/tree.js';
import { mountAll, unmountAll } from '../linux/mount.js';
import { copyTree, measureChanges, measureTree, removeTree } from './jobs.js';

const MIB = 1024 * 1024;

/** Enough to be more than a moment's work: it goes to a thread. */
function many(root: string, count = 3000): void {
  for (let index = 0; index < count; index += 1) {
    if (index % 100 === 0) mkdirSync(join(root, `d${index}`));
    writeFileSync(join(root, `d${index - (index % 100)}/file-${index}`), 'x');
  }
}

function deep(root: string, depth: number): void {
  let path = root;
  for (let index = 0; index < depth; index += 1) {
    path = join(path, 'd');
    mkdirSync(path);
  }
  writeFileSync(join(path, 'bottom'), 'x');
}

const bind = (source: string) => [{ type: 'bind', source, target: '', options: ['rbind'] }];

describe('removeTree', () => {
  for (const [size, fill] of [
    ['small', zoo],
    ['large', many],
    ['deep', (root: string) => deep(root, 500)],
  ] as const) {
    it(`removes a ${size} tree and follows no link out of it`, async () => {
      await using directory = await scratch('tree');
      const [tree, outside] = [join(directory.path, 'tree'), join(directory.path, 'tree-evil')];
      mkdirSync(tree);
      mkdirSync(outside);
      writeFileSync(join(outside, 'kept'), '');
      fill(tree);
      symlinkSync(outside, join(tree, 'out'));
      symlinkSync('../tree-evil', join(tree, 'relative'));
      await removeTree(tree);
      assert.deepEqual(readdirSync(directory.path), ['tree-evil']);
      assert.deepEqual(readdirSync(outside), ['kept']);
    });
  }

  it('stops at what is mounted inside, removes the rest and says so', async () => {
    await using directory = await scratch('tree');
    const [tree, outside] = [join(directory.path, 'tree'), join(directory.path, 'outside')];
    for (const path of [join(tree, 'a/mounted'), join(tree, 'b'), outside]) mkdirSync(path, { recursive: true });
    for (const path of ['a/file', 'b/file', 'mounted file']) writeFileSync(join(tree, path), '');
    writeFileSync(join(outside, 'kept'), '');
    mountAll(bind(outside), join(tree, 'a/mounted'));
    mountAll(bind(join(outside, 'kept')), join(tree, 'mounted file'));
    try {
      await assert.rejects(removeTree(tree), { code: 'FAILED_PRECONDITION' });
      assert.deepEqual(readdirSync(tree).sort(), ['a', 'mounted file']);
      assert.deepEqual(readdirSync(join(tree, 'a')), ['mounted']);
      assert.deepEqual(readdirSync(outside), ['kept']);
    } finally {
      await unmountAll(tree);
    }
    await removeTree(tree);
    assert.deepEqual(readdirSync(outside), ['kept']);
  });

  it('is content when there is nothing', () => removeTree('/nonexistent/tree'));
});

describe('measureTree', () => {
  it('counts each file once and what is allocated, not what is claimed', async () => {
    await using directory = await scratch('tree');
    const path = (name: string): string => join(directory.path, name);
    writeFileSync(path('file'), Buffer.alloc(MIB, 1));
    linkSync(path('file'), path('second name'));
    writeFileSync(path('sparse'), '');
    truncateSync(path('sparse'), 100 * MIB);
    const { inodes, size } = await measureTree(directory.path);
    assert.equal(inodes, 3);
    assert.ok(size >= MIB && size < 2 * MIB, `${size}`);
  });

  it('says the same of a large tree, without holding up the event loop', async () => {
    await using directory = await scratch('tree');
    many(directory.path, 6000);
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    });
    const { inodes } = await measureTree(directory.path);
    clearInterval(timer);
    assert.equal(inodes, 6000 + 60 + 1);
    assert.ok(longest < 500, `${longest} ms`);
  });

  it('tells what is not there', async () => {
    await assert.rejects(measureTree('/nonexistent/tree'), { code: 'NOT_FOUND' });
  });
});

describe('measureChanges', () => {
  it('counts what is not the same file in the base', async () => {
    await using directory = await scratch('tree');
    const [base, other] = [join(directory.path, 'base'), join(directory.path, 'other')];
    for (const path of [base, other]) mkdirSync(path);
    writeFileSync(join(base, 'file'), '');
    assert.deepEqual(await measureChanges(base, base), { inodes: 0, size: 0 });
    writeFileSync(join(other, 'file'), Buffer.alloc(MIB));
    mkdirSync(join(other, 'directory'));
    writeFileSync(join(other, 'directory/file'), '');
    assert.equal((await measureChanges(other, base)).inodes, 3);
  });
});

describe('copyTree', () => {
  const copyOnto = async (root: string, fill: (tree: string) => void): Promise<void> => {
    const [from, to] = [join(root, 'from'), join(root, 'to')];
    for (const path of [from, to]) mkdirSync(path);
    fill(from);
    await copyTree(from, to);
    assert.deepEqual(treeDifferences(describeTree(to), describeTree(from)), []);
    const blocks = (path: string): number => statSync(path).blocks;
    for (const name of readdirSync(to)) {
      if (name === 'sparse') assert.ok(blocks(join(to, name)) <= blocks(join(from, name)) + 8);
    }
  };

  for (const [size, fill] of [
    ['a tree with one of everything', zoo],
    ['many files', many],
    ['directories in directories', (root: string) => deep(root, 500)],
  ] as const) {
    it(`copies ${size}: times and link counts too`, async () => {
      await using directory = await scratch('tree');
      await copyOnto(directory.path, (root) => {
        fill(root);
        chmodSync(root, 0o1751);
      });
    });
  }

  it('copies data between holes', async () => {
    await using directory = await scratch('tree');
    await copyOnto(directory.path, (root) => {
      const file = join(root, 'sparse');
      writeFileSync(file, Buffer.alloc(3 * MIB, 1));
      truncateSync(file, 40 * MIB);
      writeFileSync(file, Buffer.alloc(2 * MIB, 2), { flag: 'a' });
      truncateSync(file, 90 * MIB);
    });
    const copy = readFileSync(join(directory.path, 'to/sparse'));
    assert.equal(
      copy.subarray(0, 3 * MIB).every((byte) => byte === 1),
      true,
    );
    assert.equal(
      copy.subarray(40 * MIB, 42 * MIB).every((byte) => byte === 2),
      true,
    );
    assert.equal(copy.length, 90 * MIB);
  });

  it('shares blocks where the filesystem can', async (context) => {
    const reason = await filesystemMissing('btrfs');
    if (reason !== undefined) return context.skip(reason);
    await using directory = await loopFilesystem('btrfs', { megabytes: 200 });
    await copyOnto(directory.path, (root) => writeFileSync(join(root, 'file'), Buffer.alloc(100 * MIB, 1)));
    // Two of them would not fit.
    assert.ok(existsSync(join(directory.path, 'to/file')));
  });

  it('refuses a target that holds something', async () => {
    await using directory = await scratch('tree');
    const [from, to] = [join(directory.path, 'from'), join(directory.path, 'to')];
    for (const path of [from, to]) {
      mkdirSync(path);
      writeFileSync(join(path, 'file'), path);
    }
    await assert.rejects(copyTree(from, to), { code: 'ALREADY_EXISTS' });
    assert.equal(readFileSync(join(to, 'file'), 'utf8'), to);
  });
});
