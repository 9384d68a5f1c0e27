/** Programs and libraries in a layer have the names of those that unpackers run: none of them is ever run or loaded. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { OCI_LAYER } from '../../lib/oci/media-types.js';
import { scratch } from '../harness/scratch.js';
import { bind, TestDiffer } from '../harness/unpack.js';
import { archive, file } from './tar.js';

const PROGRAMS = ['tar', 'gzip', 'unpigz', 'igzip', 'xz', 'zstd', 'sh', 'mount', 'ldconfig'];
const LIBRARIES = ['libisal.so.2', 'libnss_files.so.2', 'libz.so.1', 'libzstd.so.1', 'libc.so.6'];
const PLACES = ['', 'bin/', 'usr/bin/', 'usr/local/sbin/', 'lib/', 'usr/lib/x86_64-linux-gnu/'];

test('unpacking and comparing run and load nothing of a layer', async () => {
  await using place = await scratch('nothing-runs');
  const mark = join(place.path, 'it-ran');
  const root = join(place.path, 'root');
  const empty = join(place.path, 'empty');
  for (const directory of [root, empty]) mkdirSync(directory);
  const script = `#!/bin/sh\necho "$0" >>${mark}\n`;
  const names = PLACES.flatMap((at) => [...PROGRAMS, ...LIBRARIES].map((name) => `${at}${name}`));
  const layer = archive(
    ...names.map((name) => file(name, script, { mode: 0o4755 })),
    file('etc/ld.so.preload', '/lib/libnss_files.so.2\n'),
  );
  const former = process.cwd();
  // Where a name without its directory, or with a relative one, would be found.
  process.chdir(root);
  try {
    await using differ = new TestDiffer({}, place.path);
    const mounts = [bind(root)];
    for (const [bytes, mediaType] of [
      [gzipSync(layer), `${OCI_LAYER}+gzip`],
      [zstdCompressSync(layer), `${OCI_LAYER}+zstd`],
      [layer, OCI_LAYER],
    ] as const)
      await differ.apply(bytes, { mounts, mediaType });
    for (const kind of ['+gzip', '+zstd', ''])
      await differ.differ.compare(
        { namespace: 'test' },
        { lower: [bind(empty)], upper: mounts, mediaType: `${OCI_LAYER}${kind}` },
      );
    assert.ok(!readFileSync('/proc/self/maps', 'utf8').includes(root), 'a file of the layer is mapped');
  } finally {
    process.chdir(former);
  }
  assert.ok(!existsSync(mark), 'a program of the layer ran');
});
