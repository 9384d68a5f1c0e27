import assert from 'node:assert/strict';
import { open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { Database } from '../../lib/sqlite/database.js';
import { type OpenMetadataBench, openMetadataBench } from '../../test/harness/metadata-bench.js';
import { scratch } from '../../test/harness/scratch.js';
import { Backup } from './backup.js';
import { SCHEMA } from './schema.js';

const NS = { namespace: 'test' };
const IMAGES = 400;
/** Offset of the version of the schema (https://www.sqlite.org/fileformat.html#the_database_header). */
const VERSION = 60;

const name = (index: number): string => `docker.io/library/image-${String(index).padStart(4, '0')}:latest`;

async function put(bench: OpenMetadataBench, text: string, labels = {}): Promise<string> {
  const writer = await bench.services.content.writer(NS, { ref: text });
  await writer.write(Buffer.from(text));
  const { digest } = await writer.commit({ labels });
  return digest;
}

/** A daemon's directory with one layer of content and a snapshot, and many images. */
async function fill(root: string): Promise<void> {
  const bench = await openMetadataBench(root);
  const { images, snapshots } = bench.services;
  await snapshots.prepare(NS, 'native', 'active', '');
  const digest = await put(bench, 'layer', { 'containerd.io/gc.ref.snapshot.native': 'active' });
  const target = { mediaType: 'application/x', digest, size: 5 };
  await Promise.all(Array.from({ length: IMAGES }, (_, index) => images.create(NS, { name: name(index), target })));
  await bench.close();
}

const databaseIn = (root: string): string => join(root, 'metadata', 'metadata.sqlite');

async function copyDatabase(root: string): Promise<void> {
  const database = await Database.open(databaseIn(root), SCHEMA);
  await new Backup(database, `${databaseIn(root)}.backup`, pino({ level: 'silent' })).run();
  await database.close();
}

async function overwrite(file: string, offset: number, bytes: Buffer): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.byteLength, offset);
  await handle.close();
}

/** What a daemon finds: it must start, whatever happened to the file, and the content must be there. */
async function reopen(root: string): Promise<{ images: number; kept: string[] }> {
  const bench = await openMetadataBench(root);
  try {
    await bench.services.collector.collect();
    const images = await bench.services.images.list(NS);
    await bench.services.images.create(NS, {
      name: 'new',
      target: { mediaType: 'application/x', digest: `sha256:${'0'.repeat(64)}`, size: 1 },
    });
    const blobs = await Array.fromAsync(bench.store.walk());
    assert.equal(blobs.length, 1, 'bytes that lost their record are kept');
    const snapshots = await Array.fromAsync(bench.snapshotter.walk());
    assert.equal(snapshots.length, 1, 'a snapshot that lost its record is kept');
    const kept = (await readdir(join(root, 'metadata'))).filter((file) => file.includes('.damaged-'));
    return { images: images.length, kept };
  } finally {
    await bench.close();
  }
}

async function damaged(damage: (file: string) => Promise<void>, withCopy: boolean) {
  await using directory = await scratch('recovery');
  await fill(directory.path);
  if (withCopy) await copyDatabase(directory.path);
  await damage(databaseIn(directory.path));
  return await reopen(directory.path);
}

const DAMAGES: Readonly<Record<string, (file: string) => Promise<void>>> = {
  'zeros all over': async (file) => writeFile(file, Buffer.alloc((await stat(file)).size)),
  'text instead': (file) => writeFile(file, 'no database\n'.repeat(1000)),
  'cut to a page': (file) => truncate(file, 4096),
  'cut in the middle': async (file) => truncate(file, Math.floor((await stat(file)).size / 2)),
  'a header of zeros': (file) => overwrite(file, 0, Buffer.alloc(100)),
  'the application id flipped': (file) => overwrite(file, 68, Buffer.from([0xff])),
  'the schema version flipped': (file) => overwrite(file, 60, Buffer.from([0x40])),
};

describe('a damaged metadata database', () => {
  for (const [title, damage] of Object.entries(DAMAGES)) {
    it(`${title}: it starts, the file is kept aside, the copy fills the gaps`, async () => {
      const { images, kept } = await damaged(damage, true);
      assert.equal(images, IMAGES);
      assert.equal(kept.length, 1);
    });

    it(`${title}: it starts without a copy`, async () => {
      const { kept } = await damaged(damage, false);
      assert.equal(kept.length, 1);
    });
  }

  it('with one page overwritten loses what was on that page, without a copy', async () => {
    const { images, kept } = await damaged(async (file) => {
      const { size } = await stat(file);
      await overwrite(file, Math.floor(size / 8192) * 4096, Buffer.alloc(4096, 0xa5));
    }, false);
    assert.ok(images > IMAGES / 2, `${images} of ${IMAGES} images recovered`);
    assert.equal(kept.length, 1);
  });

  it('that is missing is taken from the copy', async () => {
    const { images, kept } = await damaged((file) => rm(file), true);
    assert.equal(images, IMAGES);
    assert.deepEqual(kept, []);
  });

  it('starts when the version in it is damaged, to an older one', async () => {
    for (const version of [0, 1]) {
      await using directory = await scratch('recovery');
      await fill(directory.path);
      await overwrite(databaseIn(directory.path), VERSION, Buffer.from([0, 0, 0, version]));
      assert.equal((await reopen(directory.path)).images, IMAGES);
    }
  });

  it('starts after any of many random changes', async (context) => {
    await using directory = await scratch('recovery');
    await fill(directory.path);
    await copyDatabase(directory.path);
    const file = databaseIn(directory.path);
    await rename(file, `${file}.whole`);
    const whole = await readFile(`${file}.whole`);
    let seed = Date.now() % 1_000_000;
    context.diagnostic(`seed ${seed}`);
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    for (let round = 0; round < 25; round += 1) {
      const bytes = Buffer.from(whole);
      for (let flips = random(20); flips >= 0; flips -= 1) bytes[random(bytes.byteLength)] = random(256);
      // A version that is ahead is no damage: a newer daemon's database is refused.
      whole.copy(bytes, VERSION, VERSION, VERSION + 4);
      if (random(5) === 0) bytes.fill(0, random(bytes.byteLength));
      await writeFile(file, bytes);
      const bench = await openMetadataBench(directory.path);
      await bench.services.images.create(NS, {
        name: `round ${round}`,
        target: { mediaType: 'application/x', digest: `sha256:${'0'.repeat(64)}`, size: 1 },
      });
      await bench.close();
      await rm(file);
    }
  });
});
