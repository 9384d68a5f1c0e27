import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { hasCode } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';
import { eventually } from '../../test/harness/eventually.js';
import { coded, TestMetadata } from '../../test/harness/metadata.js';
import { scratch } from '../../test/harness/scratch.js';

const NS = { namespace: 'test' };
const BIG = 'x'.repeat(4 * 1024 * 1024);

/** Takes every byte that is left. */
function fill(file: string): void {
  for (let size = 1024 * 1024; size >= 512; size /= 2) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw error;
    }
  }
}

/** Undefined while there is no space; the reserve is set aside again within a second. */
async function unlessFull<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, 'RESOURCE_EXHAUSTED')) return undefined;
    throw error;
  }
}

async function onSmallDisk(body: (directory: string) => Promise<void>): Promise<void> {
  await using directory = await scratch('full');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'none', directory.path]);
  try {
    await body(directory.path);
  } finally {
    execFileSync('umount', [directory.path]);
  }
}

it(
  'an image can be deleted on a full disk, which frees its bytes',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  () =>
    onSmallDisk(async (disk) => {
      const directory = join(disk, 'kernel');
      await mkdir(directory);
      await using metadata = await TestMetadata.start({ directory });
      const digest = await metadata.put(NS, BIG);
      await metadata.image(NS, 'big', digest);
      fill(join(disk, 'ballast'));
      const labels = { k: 'v'.repeat(4000) };
      const writeUntilFull = async (): Promise<void> => {
        for (let i = 0; i < 10_000; i += 1) await metadata.image(NS, `image-${i}`, digest, labels);
      };
      await assert.rejects(writeUntilFull(), coded('RESOURCE_EXHAUSTED', /full/));
      for (const { name } of await metadata.images.list(NS)) await metadata.images.delete(NS, name);
      await metadata.collector.collect();
      assert.deepEqual(await metadata.onDisk(), { blobs: [], snapshots: [] });
      await eventually('there is space again', () => unlessFull(metadata.put(NS, 'small')));
    }),
);
