import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { codeOf } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { SystemError } from './libc.js';
import { mountAll, mountsWithin, unmount, unmountAll, unmountWithin, withMounts } from './mount.js';
import { parseMountOptions } from './mount-options.js';
import { parseMountTable } from './mount-table.js';
import { mountLongOverlay, overlayLowers, overlayPath, splitLowers } from './overlay.js';

const bind = (source: string, ...options: string[]) => ({
  type: 'bind',
  source,
  target: '',
  options: ['rbind', ...options],
});

function directories(parent: string, ...names: string[]): string[] {
  const paths = names.map((name) => join(parent, name));
  for (const path of paths) mkdirSync(path, { recursive: true });
  return paths;
}

/** `count` layers, each with a file named after it, bottom first. */
function layers(parent: string, count: number, suffix = ''): string[] {
  const paths = directories(parent, ...Array.from({ length: count }, (_, index) => `${index}${suffix}/fs`));
  for (const [index, path] of paths.entries()) writeFileSync(join(path, `from-${index}`), `${index}`);
  for (const [index, path] of paths.entries()) writeFileSync(join(path, 'top'), `${index}`);
  return paths.reverse();
}

describe('mount options', () => {
  it('splits flags, propagation and data, the later option winning', () => {
    assert.deepEqual(parseMountOptions(['ro', 'nosuid', 'rw', 'rslave', 'size=1m', 'defaults']), {
      flags: 0x2,
      propagation: [0x8_4000],
      data: ['size=1m'],
    });
  });

  for (const option of ['loop', 'uidmap=0:1:1', 'X-containerd.mkfs.fs=ext4']) {
    it(`refuses ${option}`, () => {
      assert.throws(
        () => parseMountOptions([option]),
        (error) => codeOf(error) === 'UNIMPLEMENTED',
      );
    });
  }
});

describe('mount table', () => {
  it('decodes what the kernel escapes', () => {
    const line =
      '36 35 98:0 /mnt1 /a\\040b\\134\\012ä rw,noatime shared:1 master:2 - overlay a\\054b rw,errors=continue';
    assert.deepEqual(parseMountTable(`${line}\n`), [
      {
        id: 36,
        parentId: 35,
        root: '/mnt1',
        target: '/a b\\\nä',
        options: ['rw', 'noatime'],
        propagation: ['shared:1', 'master:2'],
        type: 'overlay',
        source: 'a,b',
        superOptions: 'rw,errors=continue',
      },
    ]);
  });
});

describe('mountAll', () => {
  it('binds read-only', async () => {
    await using root = await scratch('mount');
    const [source = '', target = ''] = directories(root.path, 'source', 'target');
    mountAll([bind(source, 'ro')], target);
    try {
      assert.throws(() => writeFileSync(join(target, 'x'), ''), { code: 'EROFS' });
      writeFileSync(join(source, 'x'), '');
      assert.ok(existsSync(join(target, 'x')));
    } finally {
      await unmountAll(root.path);
    }
  });

  it('undoes the first mounts when a later one fails', async () => {
    await using root = await scratch('mount');
    const [source = '', target = ''] = directories(root.path, 'source/sub', 'target');
    const requests = [bind(join(source, '..')), { ...bind('/nonexistent'), target: 'sub' }];
    assert.throws(
      () => mountAll(requests, target),
      (error) => error instanceof SystemError && error.errno === 'ENOENT',
    );
    assert.deepEqual(mountsWithin(root.path), []);
  });

  it('looks up targets inside the root, whatever links say', async () => {
    await using root = await scratch('mount');
    const [source = '', target = '', outside = ''] = directories(root.path, 'source', 'target', 'outside');
    directories(target, outside.slice(1));
    symlinkSync(outside, join(target, 'link'));
    mountAll([{ ...bind(source), target: 'link/../outside' }], target);
    try {
      assert.deepEqual(
        mountsWithin(root.path).map((entry) => entry.target),
        [join(target, outside)],
      );
    } finally {
      await unmountAll(root.path);
    }
  });

  it('names the type that the kernel lacks', async () => {
    await using root = await scratch('mount');
    const request = { type: 'nosuchfs', source: 'none', target: '', options: [] };
    assert.throws(() => mountAll([request], root.path), /"nosuchfs"/);
  });

  it('changes propagation', async () => {
    await using root = await scratch('mount');
    const [source = '', target = ''] = directories(root.path, 'source', 'target');
    mountAll([bind(source, 'private'), { ...bind(source, 'shared') }], target);
    const propagation = mountsWithin(root.path).map((entry) => entry.propagation.join());
    await unmountAll(root.path);
    assert.match(propagation[0] ?? '', /^shared:/);
    assert.equal(propagation[1], '');
  });
});

describe('overlay', () => {
  for (const count of [2, 128, 300]) {
    it(`mounts ${count} layers`, async () => {
      await using root = await scratch('mount');
      const lowers = layers(join(root.path, 'a-rather-long-directory-name-that-fills-the-page'), count);
      const [upper = '', work = '', target = ''] = directories(root.path, 'upper', 'work', 'target');
      const options = [`workdir=${work}`, `upperdir=${upper}`, `lowerdir=${overlayLowers(lowers)}`, 'index=off'];
      mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], target);
      try {
        assert.equal(readdirSync(target).length, count + 1);
        assert.equal(readFileSync(join(target, 'top'), 'utf8'), `${count - 1}`);
        writeFileSync(join(target, 'top'), 'new');
        assert.equal(readFileSync(join(upper, 'top'), 'utf8'), 'new');
      } finally {
        await unmountAll(root.path);
      }
    });

    it(`mounts ${count} layers with separators in their paths`, async () => {
      await using root = await scratch('mount');
      const lowers = layers(join(root.path, 'a:b,c\\d \n#'), count, ',:\\');
      const [upper = '', work = '', target = ''] = directories(root.path, 'u,:\\p', 'w,:\\k', 't,:\\ \n#');
      const options = [
        `workdir=${overlayPath(work)}`,
        `upperdir=${overlayPath(upper)}`,
        `lowerdir=${overlayLowers(lowers)}`,
      ];
      mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], target);
      try {
        assert.equal(readdirSync(target).length, count + 1);
        writeFileSync(join(target, 'new'), '');
        assert.ok(existsSync(join(upper, 'new')));
      } finally {
        await unmountAll(root.path);
      }
    });
  }

  it('says what the kernel says about long options', async () => {
    await using root = await scratch('mount');
    const lowers = layers(join(root.path, 'x'.repeat(100)), 60);
    const options = [`lowerdir=${overlayLowers(lowers)}`, 'nosuchoption'];
    const request = { type: 'overlay', source: 'overlay', target: '', options };
    assert.throws(() => mountAll([request], root.path), /nosuchoption/);
  });

  it('splits what it joins', () => {
    const paths = ['/a:b', '/c,d\\', '/e\nf'];
    assert.deepEqual(splitLowers(overlayLowers(paths)), paths);
  });

  it('shortens layers through a descriptor where the kernel cannot take them one by one', async () => {
    await using root = await scratch('mount');
    const lowers = layers(join(root.path, 'x'.repeat(200)), 128, ':');
    const data = [`lowerdir=${overlayLowers(lowers)}`];
    const target = root.path;
    let text = '';
    mountLongOverlay({ source: 'overlay', target, flags: 0, data }, (short) => (text = short), { oneByOne: false });
    assert.ok(Buffer.byteLength(text) <= 4095, `${text.length}`);
    assert.equal(splitLowers(text.slice('lowerdir='.length)).length, 128);
  });
});

describe('unmounting', () => {
  it('detaches and reports what is busy, and refuses without a reporter', async () => {
    await using root = await scratch('mount');
    const [source = '', target = ''] = directories(root.path, 'source', 'target');
    mountAll([{ type: 'tmpfs', source: 'tmpfs', target: '', options: [] }], target);
    writeFileSync(join(target, 'file'), '');
    const file = await open(join(target, 'file'));
    try {
      await assert.rejects(unmountAll(target), { code: 'FAILED_PRECONDITION', errno: 'EBUSY' });
      const busy: string[] = [];
      await unmountAll(target, (entry) => busy.push(entry.target));
      assert.deepEqual(busy, [target]);
    } finally {
      await file.close();
    }
    assert.ok(source);
  });

  it('does not follow a link', async () => {
    await using root = await scratch('mount');
    const [target = ''] = directories(root.path, 'target');
    mountAll([bind(target)], target);
    symlinkSync(target, join(root.path, 'link'));
    await assert.rejects(unmount(join(root.path, 'link')), { errno: 'EINVAL' });
    await unmount(target);
  });

  it('takes down stacked and nested mounts, and shared peers', async () => {
    await using root = await scratch('mount');
    const [a = '', b = ''] = directories(root.path, 'a/x', 'b');
    mountAll([bind(join(a, '..'), 'shared')], join(a, '..'));
    mountAll([bind(join(a, '..'))], b);
    mountAll([bind(a), bind(a)], a);
    assert.ok(mountsWithin(root.path).length > 4);
    await unmountAll(root.path);
    assert.deepEqual(mountsWithin(root.path), []);
  });

  it('has begun by the time it returns, and says whether there was anything', async () => {
    await using root = await scratch('mount');
    mountAll([bind(root.path)], root.path);
    const unmounting = unmountWithin(root.path);
    const deadline = performance.now() + 5000;
    // Nothing else gets a turn here: only a thread of its own can unmount it.
    while (mountsWithin(root.path).length > 0 && performance.now() < deadline);
    assert.deepEqual(mountsWithin(root.path), []);
    assert.equal(await unmounting, true);
    assert.equal(await unmountWithin(root.path), false);
  });

  it('is content with a directory that does not exist', async () => {
    assert.equal(await unmountAll('/nonexistent/directory'), false);
  });
});

describe('withMounts', () => {
  it('leaves nothing, whatever happens inside', async () => {
    await using root = await scratch('mount');
    const [source = '', directory = ''] = directories(root.path, 'source', 'directory');
    writeFileSync(join(source, 'x'), 'y');
    const text = await withMounts([bind(source)], (path) => readFileSync(join(path, 'x'), 'utf8'), { directory });
    assert.equal(text, 'y');
    const failing = () => Promise.reject(new Error('inside'));
    await assert.rejects(withMounts([bind(source)], failing, { directory }), /inside/);
    await assert.rejects(
      withMounts([bind('/nonexistent')], () => 0, { directory }),
      { code: 'NOT_FOUND' },
    );
    assert.deepEqual(readdirSync(directory), []);
  });
});
