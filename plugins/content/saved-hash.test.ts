/** What is altered on disk shows which bytes were hashed again: none that a saved hash is of. */
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { digestOf } from '../../lib/digest.js';
import { eventually } from '../../test/harness/eventually.js';
import { scratch } from '../../test/harness/scratch.js';
import { CHUNK } from './hashing.js';
import { LocalStore } from './store.js';

const BOOT = 'KEELSON_TEST_BOOT_ID';
/** Enough for a flush on the way, and some that come after it. */
const BYTES = Buffer.alloc(40 * CHUNK, 'no two pieces of it are the same, ');
for (let at = 0; at < BYTES.length; at += CHUNK) BYTES.writeUInt32LE(at, at);
const ALTERED = Buffer.concat([Buffer.from('!'), BYTES.subarray(1)]);

const write = async (root: string, bytes: Buffer): Promise<LocalStore> => {
  const store = await LocalStore.open(root);
  const writer = await store.writer({ ref: 'r' });
  await writer.write(bytes);
  await writer.close();
  return store;
};

const inIngest = (root: string, file: string): string => {
  const [name = ''] = readdirSync(join(root, 'ingest'));
  return join(root, 'ingest', name, file);
};

const alter = (root: string): void => {
  const data = openSync(inIngest(root, 'data'), 'r+');
  writeSync(data, '!', 0);
  closeSync(data);
};

/** By a process that has nothing in memory of it. */
const digestSeen = async (root: string): Promise<string> => {
  const writer = await (await LocalStore.open(root)).writer({ ref: 'r' });
  const digest = writer.digest();
  await writer.close();
  return digest;
};

describe('the hash of an ingest in another process', () => {
  afterEach(() => {
    delete process.env[BOOT];
  });

  const check = (title: string, body: (root: string) => Promise<void>): void => {
    it(title, async () => {
      await using directory = await scratch('hash');
      await body(directory.path);
    });
  };

  check('is taken up where it was left', async (root) => {
    await write(root, BYTES);
    alter(root);
    assert.equal(await digestSeen(root), digestOf(BYTES));
  });

  check('goes on over bytes that came after it was saved', async (root) => {
    await write(root, BYTES.subarray(0, 33 * CHUNK));
    writeFileSync(inIngest(root, 'data'), BYTES.subarray(33 * CHUNK), { flag: 'a' });
    alter(root);
    assert.equal(await digestSeen(root), digestOf(BYTES));
  });

  check('of bytes that were not flushed is worth nothing after another boot', async (root) => {
    process.env[BOOT] = 'one';
    await write(root, BYTES);
    alter(root);
    process.env[BOOT] = 'two';
    assert.equal(await digestSeen(root), digestOf(ALTERED));
  });

  check('of bytes that were flushed outlives a daemon that was killed, and the boot', async (root) => {
    process.env[BOOT] = 'one';
    const writer = await (await LocalStore.open(root)).writer({ ref: 'r' });
    await writer.write(BYTES);
    await eventually('the hash is saved', () => existsSync(inIngest(root, 'hash')) || undefined);
    alter(root);
    process.env[BOOT] = 'two';
    assert.equal(await digestSeen(root), digestOf(BYTES));
    await writer.close();
  });

  for (const [what, damage] of [
    ['is gone', (file: string) => truncateSync(file, 0)],
    ['is no JSON', (file: string) => writeFileSync(file, '{')],
    ['is of another runtime', (file: string) => writeFileSync(file, changed(file, { openssl: '0' }))],
    ['is of more bytes than there are', (file: string) => writeFileSync(file, changed(file, { offset: 41 * CHUNK }))],
    ['has no state that can be', (file: string) => writeFileSync(file, changed(file, { state: 'AAAA' }))],
  ] as const)
    check(`is made anew when what was saved ${what}`, async (root) => {
      await write(root, BYTES);
      damage(inIngest(root, 'hash'));
      alter(root);
      assert.equal(await digestSeen(root), digestOf(ALTERED));
    });

  check('is forgotten before bytes are changed that it was of', async (root) => {
    const store = await write(root, BYTES);
    const writer = await store.writer({ ref: 'r' });
    await writer.truncate(0);
    assert.deepEqual(readdirSync(inIngest(root, '')).sort(), ['data', 'ref']);
    await writer.write(ALTERED);
    assert.equal(writer.digest(), digestOf(ALTERED));
    await writer.close();
  });
});

const changed = (file: string, fields: object): string =>
  JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...fields });
