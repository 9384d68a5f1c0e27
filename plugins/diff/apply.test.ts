import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { codeOf, type ErrorCode, hasCode } from '../../kernel/errors.js';
import { mountsWithin } from '../../lib/linux/mount.js';
import { OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD } from '../../lib/oci/media-types.js';
import { eventually } from '../../test/harness/eventually.js';
import { scratch } from '../../test/harness/scratch.js';
import { bind, TestDiffer } from '../../test/harness/unpack.js';
import * as tar from '../../test/hostile/tar.js';

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const refuses = (work: Promise<unknown>, code: ErrorCode, message = /./): Promise<void> =>
  assert.rejects(work, (error) => hasCode(error, code) && error instanceof Error && message.test(error.message));

const descriptors = (): number => readdirSync('/proc/self/fd').length;

const small = tar.archive(tar.dir('d'), tar.file('d/a', 'data'), tar.file('d/b', 'x'.repeat(700)));

let differ: TestDiffer;
const workers: Worker[] = [];
const remember = (worker: Worker): unknown => workers.push(worker);

before(async () => {
  process.on('worker', remember);
  differ = new TestDiffer({}, '/tmp', 1);
  await using dir = await scratch('apply');
  await differ.apply(small, { mounts: [bind(dir.path)] });
});
after(() => differ[Symbol.asyncDispose]());

describe('what a layer may be', () => {
  test('a layer of every compression has the digest and size of its archive, trailing bytes included', async () => {
    const bytes = Buffer.concat([tar.archive(tar.file('a', 'data')), Buffer.from('trailing')]);
    const forms: [string, Buffer][] = [
      [OCI_LAYER, bytes],
      [OCI_LAYER_GZIP, gzipSync(bytes)],
      [OCI_LAYER_GZIP, Buffer.concat([gzipSync(bytes.subarray(0, 700)), gzipSync(bytes.subarray(700))])],
      [OCI_LAYER_ZSTD, zstdCompressSync(bytes)],
      ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', gzipSync(bytes)],
      ['application/vnd.docker.image.rootfs.diff.tar', gzipSync(bytes)],
      ['application/vnd.docker.image.rootfs.diff.tar.gzip', gzipSync(bytes)],
      ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', bytes],
    ];
    for (const [mediaType, blob] of forms) {
      await using dir = await scratch('apply');
      const result = await differ.apply(blob, { mounts: [bind(dir.path)], mediaType, digest: sha256(blob) });
      assert.deepEqual(result, { diffId: sha256(bytes), size: bytes.length, unresolved: false });
      assert.equal(readFileSync(join(dir.path, 'a'), 'utf8'), 'data');
    }
  });

  test('an empty blob is an empty layer', async () => {
    await using dir = await scratch('apply');
    const mounts = [bind(dir.path)];
    for (const mediaType of [OCI_LAYER, OCI_LAYER_GZIP]) {
      const result = await differ.apply(Buffer.alloc(0), { mounts, mediaType });
      assert.deepEqual(result, { diffId: sha256(Buffer.alloc(0)), size: 0, unresolved: false });
    }
  });

  test('other media types are for other differs', async () => {
    for (const mediaType of ['', 'text/plain', `${OCI_LAYER_GZIP}+encrypted`, 'application/vnd.erofs.layer.v1']) {
      await refuses(differ.differ.open({ mediaType, mounts: [] }), 'UNIMPLEMENTED');
    }
  });

  test('bytes may come in any pieces', async () => {
    const blob = gzipSync(small);
    for (const size of [1, 7, 1000, 300_000]) {
      await using dir = await scratch('apply');
      const sink = await differ.differ.open({ mediaType: OCI_LAYER_GZIP, mounts: [bind(dir.path)] });
      for (let at = 0; at < blob.length; at += size) await sink.write(blob.subarray(at, at + size));
      assert.equal((await sink.end()).diffId, sha256(small));
      await refuses(sink.write(blob), 'FAILED_PRECONDITION');
    }
  });
});

describe('what a layer may not be', () => {
  test('truncated at any byte', async () => {
    const blob = gzipSync(small);
    await using dir = await scratch('apply');
    const mounts = [bind(dir.path)];
    const open = descriptors();
    for (let size = 3; size < blob.length; size++) {
      await refuses(differ.apply(blob.subarray(0, size), { mounts, mediaType: OCI_LAYER_GZIP }), 'INVALID_ARGUMENT');
    }
    assert.ok(descriptors() <= open);
  });

  test('of another digest than promised', async () => {
    await using dir = await scratch('apply');
    const digest = sha256(Buffer.from('other'));
    await refuses(differ.apply(small, { mounts: [bind(dir.path)], digest }), 'FAILED_PRECONDITION', /digest/);
  });

  test('broken: the error names the entry', async () => {
    await using dir = await scratch('apply');
    const mounts = [bind(dir.path)];
    const bad = Buffer.concat([tar.file('usr/bin/good'), Buffer.alloc(512, 1)]);
    await refuses(differ.apply(bad, { mounts }), 'INVALID_ARGUMENT', /usr\/bin\/good/);
    await refuses(differ.apply(tar.hardlink('usr/x', 'no'), { mounts }), 'INVALID_ARGUMENT', /"usr\/x"/);
  });

  test('larger than the limits: bytes, ratio, entries', async () => {
    await using limited = new TestDiffer({ bytes: 200 * 2 ** 20, ratio: 100, inodes: 10 }, '/tmp', 1);
    await using dir = await scratch('apply');
    const mounts = [bind(dir.path)];
    const zeros = (size: number): Buffer => tar.archive(tar.file('zeros', Buffer.alloc(size)));
    const bomb = gzipSync(zeros(100 * 2 ** 20), { level: 1 });
    await refuses(limited.apply(bomb, { mounts, mediaType: OCI_LAYER_GZIP }), 'RESOURCE_EXHAUSTED', /100 times/);
    await refuses(limited.apply(zeros(201 * 2 ** 20), { mounts }), 'RESOURCE_EXHAUSTED', /bytes/);
    const many = tar.archive(...Array.from({ length: 11 }, (_, index) => tar.file(`f${index}`)));
    await refuses(limited.apply(many, { mounts }), 'RESOURCE_EXHAUSTED', /10 entries/);
    assert.ok(limited.pool);
  });

  test('a bomb: memory stays bounded, and the limit stops it', async () => {
    await using dir = await scratch('apply');
    const member = gzipSync(Buffer.alloc(64 * 2 ** 20), { level: 9 });
    const head = gzipSync(tar.raw({ name: 'bomb', size: 2 ** 40 }));
    const sink = await differ.differ.open({ mediaType: OCI_LAYER_GZIP, mounts: [bind(dir.path)] });
    const start = process.memoryUsage.rss();
    let most = 0;
    await sink.write(head);
    await refuses(
      (async () => {
        for (;;) {
          await sink.write(member);
          most = Math.max(most, process.memoryUsage.rss() - start);
        }
      })(),
      'RESOURCE_EXHAUSTED',
    );
    await sink.abort();
    assert.ok(most < 64 * 2 ** 20, `${most} bytes more`);
  });

  test('zstd with a window of 2 GiB', async () => {
    await using dir = await scratch('apply');
    // Frame header: no content size, window descriptor 2^31; then one RLE block of zeros.
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x03, 0x80, 0x00, 0x00]);
    const start = process.memoryUsage.rss();
    await refuses(
      differ.apply(frame, { mounts: [bind(dir.path)], mediaType: OCI_LAYER_ZSTD }),
      'INVALID_ARGUMENT',
      /compressed/,
    );
    assert.ok(process.memoryUsage.rss() - start < 64 * 2 ** 20);
  });
});

describe('where a layer goes', () => {
  test('a target that is not there, or is a file', async () => {
    await using dir = await scratch('apply');
    writeFileSync(join(dir.path, 'file'), '');
    const open = descriptors();
    await refuses(differ.apply(small, { mounts: [bind(join(dir.path, 'none'))] }), 'NOT_FOUND', /none/);
    await assert.rejects(differ.apply(small, { mounts: [bind(join(dir.path, 'file'))] }));
    assert.ok(descriptors() <= open);
  });

  test('mounts that have to be mounted are, for as long as it takes, also when the layer is bad', async () => {
    await using dir = await scratch('apply');
    await using mounting = new TestDiffer({}, dir.path, 1);
    const image = join(dir.path, 'lower');
    mkdirSync(image);
    const mounts: Mount[] = [
      { type: 'tmpfs', source: 'tmpfs', target: '', options: ['size=1m'] },
      { type: 'bind', source: image, target: '', options: ['rbind', 'rw'] },
    ];
    await mounting.apply(small, { mounts });
    assert.equal(readFileSync(join(image, 'd/a'), 'utf8'), 'data');
    const full = tar.archive(tar.file('big', Buffer.alloc(2 ** 21)));
    const tmpfs: Mount[] = [{ type: 'tmpfs', source: 'tmpfs', target: '', options: ['size=1m'] }];
    await refuses(mounting.apply(full, { mounts: tmpfs }), 'RESOURCE_EXHAUSTED', /"big"/);
    await refuses(mounting.apply(full.subarray(0, 1000), { mounts: tmpfs }), 'INVALID_ARGUMENT');
    await refuses(
      mounting.apply(small, { mounts: [{ ...bind(image), options: ['ro', 'rbind'] }] }),
      'FAILED_PRECONDITION',
    );
    assert.deepEqual(mountsWithin(dir.path), []);
    assert.deepEqual(readdirSync(dir.path), ['lower']);
  });

  test('a mount point inside the target is neither written through nor removed', async () => {
    await using dir = await scratch('apply');
    await using mounting = new TestDiffer({}, dir.path, 1);
    const root = join(dir.path, 'root');
    const inner: Mount = { type: 'tmpfs', source: 'tmpfs', target: 'mnt', options: [] };
    const mounts = [{ ...bind(root) }, inner];
    mkdirSync(join(root, 'mnt'), { recursive: true });
    for (const layer of [tar.whiteout('mnt'), tar.file('mnt/f'), tar.file('mnt'), tar.file('.wh..wh..opq')]) {
      const error = await mounting.apply(tar.archive(layer), { mounts }).catch((thrown: unknown) => thrown);
      assert.equal(codeOf(error), 'FAILED_PRECONDITION', String(error));
    }
    assert.deepEqual(mountsWithin(dir.path), []);
    assert.ok(statSync(join(root, 'mnt')).isDirectory());
  });

  test('owner and mode are right below directories that pass theirs on', async () => {
    await using dir = await scratch('apply');
    const root = join(dir.path, 'root');
    mkdirSync(root);
    chownSync(root, 5, 6);
    chmodSync(root, 0o2775);
    const layer = tar.archive(
      tar.dir('d'),
      tar.file('d/f', '1', { mode: 0o604 }),
      tar.file('implied/f', '1', { mode: 0o604 }),
    );
    await differ.apply(layer, { mounts: [bind(root)] });
    const attributes = (path: string): (number | string)[] => {
      const { mode, uid, gid } = lstatSync(join(root, path));
      return [(mode & 0o7777).toString(8), uid, gid];
    };
    assert.deepEqual(['d', 'd/f', 'implied', 'implied/f'].map(attributes), [
      ['755', 0, 0],
      ['604', 0, 0],
      ['755', 0, 0],
      ['604', 0, 0],
    ]);
  });

  test('synced to disk when asked to', async () => {
    await using dir = await scratch('apply');
    const data = randomBytes(20 * 2 ** 20);
    await differ.apply(tar.archive(tar.file('big', data)), { mounts: [bind(dir.path)], sync: true });
    assert.ok(readFileSync(join(dir.path, 'big')).equals(data));
  });
});

describe('layers under way', () => {
  const large = tar.archive(...Array.from({ length: 40 }, (_, index) => tar.file(`f${index}`, randomBytes(2 ** 18))));

  test('stopped in the middle: nothing stays open, and the worker goes on', async () => {
    await using dir = await scratch('apply');
    const open = descriptors();
    const sink = await differ.differ.open({ mediaType: OCI_LAYER, mounts: [bind(dir.path)] });
    await sink.write(large.subarray(0, 5 * 2 ** 20));
    await sink.abort();
    await sink.abort();
    await refuses(sink.write(large), 'CANCELED');
    await refuses(sink.end(), 'CANCELED');
    assert.ok(descriptors() <= open);
    assert.equal((await differ.apply(small, { mounts: [bind(dir.path)] })).size, small.length);
  });

  test('stopped by a signal while writing', async () => {
    await using dir = await scratch('apply');
    const controller = new AbortController();
    const { signal } = controller;
    const sink = await differ.differ.open({ mediaType: OCI_LAYER, mounts: [bind(dir.path)], signal });
    setImmediate(() => controller.abort());
    await refuses(
      (async () => {
        for (let at = 0; at < large.length; at += 2 ** 18) await sink.write(large.subarray(at, at + 2 ** 18));
      })(),
      'CANCELED',
    );
    await sink.abort();
    await refuses(differ.apply(small, { mounts: [bind(dir.path)], signal }), 'CANCELED');
  });

  test('a worker that dies fails what it was doing, and is replaced', async () => {
    await using dir = await scratch('apply');
    await using one = new TestDiffer({}, '/tmp', 1);
    const sink = await one.differ.open({ mediaType: OCI_LAYER, mounts: [bind(dir.path)] });
    await workers.at(-1)?.terminate();
    await refuses(sink.end(), 'INTERNAL');
    await sink.abort();
    assert.equal((await one.apply(small, { mounts: [bind(dir.path)] })).size, small.length);
  });

  test('a worker with nothing to do ends after a while, and a new one does what comes then', async () => {
    await using dir = await scratch('apply');
    await using brief = new TestDiffer({}, '/tmp', 1, 50);
    await brief.apply(small, { mounts: [bind(dir.path)] });
    const first = workers.at(-1);
    await eventually('the thread has ended', () => (first?.threadId === -1 ? true : undefined));
    assert.equal((await brief.apply(small, { mounts: [bind(dir.path)] })).size, small.length);
    assert.notEqual(workers.at(-1), first);
  });

  test('one that fails does not disturb the others of its worker', async () => {
    await using dir = await scratch('apply');
    const work = Array.from({ length: 12 }, (_, index) => {
      const target = join(dir.path, `${index}`);
      mkdirSync(target);
      const bytes = index % 3 === 0 ? large.subarray(0, -1030) : large;
      return differ.apply(bytes, { mounts: [bind(target)] }).then(
        ({ diffId }) => diffId,
        (error: unknown) => codeOf(error),
      );
    });
    const expected = Array.from({ length: 12 }, (_, index) => (index % 3 === 0 ? 'INVALID_ARGUMENT' : sha256(large)));
    assert.deepEqual(await Promise.all(work), expected);
  });

  test('the event loop only coordinates: no turn of it takes 20 ms of processor time', async () => {
    await using dir = await scratch('apply');
    await using several = new TestDiffer();
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
    const blob = gzipSync(large, { level: 1 });
    last = process.threadCpuUsage();
    await Promise.all(
      ['a', 'b', 'c'].map((name) => {
        mkdirSync(join(dir.path, name));
        return several.apply(blob, { mounts: [bind(join(dir.path, name))], mediaType: OCI_LAYER_GZIP });
      }),
    );
    running = false;
    assert.ok(most < 20_000, `${most} µs`);
  });

  test('none can begin once the pool is closed, and those under way fail', async () => {
    await using dir = await scratch('apply');
    const closing = new TestDiffer({}, '/tmp', 1);
    const sink = await closing.differ.open({ mediaType: OCI_LAYER, mounts: [bind(dir.path)] });
    await closing.pool.close();
    await refuses(sink.end(), 'INTERNAL');
    await refuses(closing.apply(small, { mounts: [bind(dir.path)] }), 'UNAVAILABLE');
  });
});
