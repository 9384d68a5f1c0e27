import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pack } from 'tar-stream';
import { Any } from '../../api/gen/google/protobuf/any.js';
import { MemoryContent, MemoryLeases } from '../../test/harness/memory.js';
import { scratch } from '../../test/harness/scratch.js';
import { Checkpoints, IMAGE_TYPE, SPEC_TYPE } from './checkpoints.js';

const scope = { namespace: 'ns' };
const spec = { typeUrl: 'spec', value: Buffer.from('{}') };

async function setUp() {
  const directory = await scratch('checkpoint');
  const content = new MemoryContent(new MemoryLeases());
  const images = join(directory.path, 'images');
  return {
    content,
    images,
    checkpoints: new Checkpoints(content, images),
    directory: directory.path,
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

test('an image goes to content and comes back as it was', async () => {
  await using setup = await setUp();
  const { checkpoints, content } = setup;
  const place = await checkpoints.place();
  const files = {
    'core-1.img': Buffer.alloc(3 << 20, 'x'),
    'descriptors.json': Buffer.from('[]'),
    'stats-dump': Buffer.alloc(0),
  };
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, name), bytes);
  const [image, config] = await checkpoints.store(scope, place, spec);
  assert.deepEqual([image?.mediaType, config?.mediaType], [IMAGE_TYPE, SPEC_TYPE]);
  assert.ok(image && config);
  const wire = content.blobs.get(config.digest)?.bytes ?? Buffer.alloc(0);
  assert.equal(Any.decode(wire).typeUrl, 'spec');
  assert.equal(config.size, wire.length);
  const back = await checkpoints.unpack(scope, image);
  assert.deepEqual((await readdir(back)).sort(), Object.keys(files).sort());
  for (const [name, bytes] of Object.entries(files)) assert.ok(bytes.equals(await readFile(join(back, name))), name);
  assert.deepEqual(await checkpoints.store(scope, place, spec), [image, config]);
});

test('what is no image is refused, and nothing of it stays', async () => {
  await using setup = await setUp();
  const { checkpoints, content, images, directory } = setup;
  const refused = { code: 'INVALID_ARGUMENT' };
  await assert.rejects(checkpoints.unpack(scope, { mediaType: 'x/y', digest: 'sha256:0', size: 1 }), refused);
  const hostile = [
    { name: '../out' },
    { name: '/out' },
    { name: 'a/b' },
    { name: 'x', type: 'symlink', linkname: '/etc' },
  ] as const;
  for (const header of hostile) {
    const archive = pack();
    archive.entry({ ...header }, 'type' in header ? '' : 'bytes');
    archive.finalize();
    const bytes = Buffer.concat(await Array.fromAsync(archive, (chunk) => Buffer.from(chunk as Uint8Array)));
    const writer = await content.writer(scope, { ref: header.name });
    await writer.write(bytes);
    const digest = writer.digest();
    await writer.commit({});
    await assert.rejects(checkpoints.unpack(scope, { mediaType: IMAGE_TYPE, digest, size: bytes.length }), refused);
  }
  assert.deepEqual(await readdir(images), []);
  assert.equal(existsSync(join(directory, 'out')), false);
});
