/**
 * What every content store keeps: the promises of kernel/contracts/content.ts.
 *
 *     contentConformance({ describe, it }, subject)
 */
import assert from 'node:assert/strict';
import type { BlobWriter, ContentStore } from '../../kernel/contracts/content.js';
import { hasCode } from '../../kernel/errors.js';
import { scratch } from '../harness/scratch.js';
import { issueChecks } from './content.issues.js';
import {
  bytes,
  type ContentSubject,
  digest,
  HELLO,
  type OpenStore,
  read,
  refs,
  rejects,
  walked,
  write,
} from './content.workbench.js';
import { checkOf, type Runner } from './runner.js';

export type { ContentSubject, OpenStore } from './content.workbench.js';

const MALFORMED = [
  '',
  'sha256',
  'sha256:',
  'sha256:../../../../etc/passwd',
  `sha256:${'0'.repeat(63)}`,
  `sha256:${'0'.repeat(65)}`,
  `sha256:${'A'.repeat(64)}`,
  `SHA256:${'0'.repeat(64)}`,
  `sha256:${'0'.repeat(63)}\0`,
  `whirlpool:${'0'.repeat(64)}`,
  `../sha256:${'0'.repeat(64)}`,
];

const ABSENT = digest(bytes('nobody wrote this'));

type Check = (open: OpenStore, root: string) => Promise<void>;

export function contentConformance(runner: Runner, subject: ContentSubject): void {
  const check = (title: string, body: Check): void =>
    checkOf(runner, subject, title, async () => {
      await using directory = await scratch('content');
      const opened = await subject.open(directory.path);
      try {
        await body(opened, directory.path);
      } finally {
        await opened.close();
      }
    });

  async function refusesPromise(store: ContentStore, ref: string, expected: string): Promise<void> {
    if (subject.can.checkPromises) return rejects('INVALID_ARGUMENT', store.writer({ ref, expected }));
    const writer = await store.writer({ ref, expected });
    await writer.write(HELLO);
    await rejects('FAILED_PRECONDITION', writer.commit({ expected }));
    await writer.close();
  }

  runner.describe(`${subject.name}: blobs`, () => {
    check('a committed blob is found, walked and read', async ({ store }) => {
      const before = BigInt(Date.now() - 2000) * 1_000_000n;
      const info = await write(store, 'a', HELLO);
      assert.equal(info.digest, digest(HELLO));
      assert.equal(info.size, HELLO.byteLength);
      const found = await store.info(info.digest);
      assert.equal(found.size, HELLO.byteLength);
      assert.ok(found.createdAt > before, 'createdAt is the time of the commit');
      assert.deepEqual(await walked(store), [info.digest]);
      assert.deepEqual(await read(store, info.digest), Buffer.from(HELLO));
    });

    check('reads parts, and less at the end', async ({ store }) => {
      const { digest: name } = await write(store, 'a', HELLO);
      assert.equal((await read(store, name, 7, 4)).toString(), 'cont');
      assert.equal((await read(store, name, 10, 100)).toString(), 'tent');
      assert.equal((await read(store, name, 100, 10)).toString(), '');
    });

    check('an empty blob is a blob', async ({ store }) => {
      const { digest: name, size } = await write(store, 'a', bytes(''));
      assert.equal(size, 0);
      assert.equal((await read(store, name)).byteLength, 0);
    });

    check('a large blob written in uneven chunks keeps its digest', async ({ store }) => {
      const content = Buffer.alloc(5 * 1024 * 1024 + 17, 'abcdefg');
      const writer = await store.writer({ ref: 'large', total: content.byteLength, expected: digest(content) });
      for (let at = 0, step = 1; at < content.byteLength; at += step, step = step * 3 + 1) {
        await writer.write(content.subarray(at, at + step));
      }
      assert.equal(writer.status().offset, content.byteLength);
      assert.equal(writer.digest(), digest(content));
      await writer.commit({});
      assert.equal(digest(await read(store, digest(content))), digest(content));
    });

    check('a chunk may be reused once written', async ({ store }) => {
      const chunk = Buffer.from('first');
      const writer = await store.writer({ ref: 'a' });
      await writer.write(chunk);
      chunk.write('2nd..');
      await writer.write(chunk);
      const { digest: name } = await writer.commit({});
      assert.equal((await read(store, name)).toString(), 'first2nd..');
    });

    check('delete removes it; a reader that was open reads on where the store says so', async ({ store }) => {
      const { digest: name } = await write(store, 'a', HELLO);
      const reader = await store.reader(name);
      await store.delete(name);
      const target = Buffer.alloc(5);
      if (subject.can.readDeleted) assert.equal(await reader.read(target, 0), 5);
      await reader.close();
      assert.deepEqual(await walked(store), []);
      await rejects('NOT_FOUND', store.info(name));
      await rejects('NOT_FOUND', store.delete(name));
    });

    check('several are walked, each once, and deleted one by one', async ({ store }) => {
      const names: string[] = [];
      for (const text of ['one', 'two', 'three']) names.push((await write(store, text, bytes(text))).digest);
      assert.deepEqual(await walked(store), names.toSorted());
      const [one = '', ...others] = names;
      await store.delete(one);
      assert.deepEqual(await walked(store), others.toSorted());
    });

    check('readers of one blob do not disturb one another', async ({ store }) => {
      const { digest: name } = await write(store, 'a', HELLO);
      const [first, second] = [await store.reader(name), await store.reader(name)];
      const target = Buffer.alloc(5);
      assert.equal(await first.read(target, 0), 5);
      await first.close();
      assert.equal(await second.read(target, 7), 5);
      assert.equal(target.toString(), 'conte');
      await second.close();
    });

    check('what is not here is NOT_FOUND', async ({ store }) => {
      await rejects('NOT_FOUND', store.info(ABSENT));
      await rejects('NOT_FOUND', store.reader(ABSENT));
      await rejects('NOT_FOUND', store.delete(ABSENT));
    });

    for (const name of MALFORMED) {
      check(`digest ${JSON.stringify(name)} is INVALID_ARGUMENT everywhere`, async ({ store }) => {
        await rejects('INVALID_ARGUMENT', store.info(name));
        await rejects('INVALID_ARGUMENT', store.reader(name));
        await rejects('INVALID_ARGUMENT', store.delete(name));
        if (name === '' || !subject.can.checkPromises) return;
        await rejects('INVALID_ARGUMENT', store.writer({ ref: 'a', expected: name }));
        assert.deepEqual(await store.statuses(), []);
      });
    }

    check('longer digests name blobs too', async ({ store }) => {
      for (const algorithm of ['sha384', 'sha512']) {
        const expected = digest(HELLO, algorithm);
        if (!subject.can.longDigests) {
          await refusesPromise(store, algorithm, expected);
          continue;
        }
        const early = await store.writer({ ref: `${algorithm}-early`, expected });
        await early.write(HELLO);
        if (subject.can.keepExpectation) assert.equal(early.digest(), expected);
        await early.commit(subject.can.keepExpectation ? {} : { expected });
        await store.delete(expected);
        const late = await store.writer({ ref: `${algorithm}-late` });
        await late.write(HELLO);
        assert.equal((await late.commit({ expected })).digest, expected);
        assert.deepEqual(await read(store, expected), Buffer.from(HELLO));
      }
    });
  });

  runner.describe(`${subject.name}: writers`, () => {
    check('an empty ref or an impossible total is INVALID_ARGUMENT', async ({ store }) => {
      await rejects('INVALID_ARGUMENT', store.writer({ ref: '' }));
      for (const total of [-1, 1.5, Number.NaN, 2 ** 53]) {
        await rejects('INVALID_ARGUMENT', store.writer({ ref: 'a', total }));
      }
    });

    check('a ref may hold any characters and be long', async ({ store }) => {
      for (const ref of ['../../up', '/', 'a\0b', 'ü', 'x'.repeat(5000), '__proto__']) {
        const writer = await store.writer({ ref });
        await writer.write(HELLO);
        await writer.close();
        assert.equal((await store.status(ref)).offset, HELLO.byteLength);
        await store.abort(ref);
      }
      assert.deepEqual(await store.statuses(), []);
    });

    check('an open writer locks its ref and no other', async ({ store }) => {
      const writer = await store.writer({ ref: 'a' });
      await rejects('UNAVAILABLE', store.writer({ ref: 'a' }));
      if (subject.can.protectLocked) await rejects('UNAVAILABLE', store.abort('a'));
      const other = await store.writer({ ref: 'b' });
      await other.close();
      await writer.close();
      await writer.close();
      await (await store.writer({ ref: 'a' })).close();
    });

    check('of 64 writers on one ref one writes, and all end with the same blob', async ({ store }) => {
      const content = Buffer.alloc(300_000, 'x');
      let unavailable = 0;
      const one = async (): Promise<'wrote' | 'existed'> => {
        for (;;) {
          let writer: BlobWriter;
          try {
            writer = await store.writer({ ref: 'r', total: content.byteLength, expected: digest(content) });
          } catch (error) {
            if (hasCode(error, 'ALREADY_EXISTS')) return 'existed';
            if (!hasCode(error, 'UNAVAILABLE')) throw error;
            unavailable += 1;
            await new Promise((resolve) => setTimeout(resolve, 1));
            continue;
          }
          await writer.write(content.subarray(writer.status().offset));
          await writer.commit({ size: content.byteLength, expected: digest(content) });
          return 'wrote';
        }
      };
      const outcomes = await Promise.all(Array.from({ length: 64 }, one));
      assert.equal(outcomes.filter((outcome) => outcome === 'wrote').length, 1);
      assert.ok(unavailable >= 63);
      assert.deepEqual(await walked(store), [digest(content)]);
      assert.deepEqual(await store.statuses(), []);
    });

    check('expected content that is here is ALREADY_EXISTS, and the ingest is dropped', async ({ store }) => {
      await write(store, 'a', HELLO);
      const stale = await store.writer({ ref: 'b' });
      await stale.write(bytes('something'));
      await stale.close();
      await rejects('ALREADY_EXISTS', store.writer({ ref: 'b', expected: digest(HELLO) }));
      if (!subject.can.dropKnown) await store.abort('b');
      await rejects('NOT_FOUND', store.status('b'));
    });

    check('a commit of content that is here is ALREADY_EXISTS, and the ingest is dropped', async ({ store }) => {
      const writer = await store.writer({ ref: 'b' });
      await writer.write(HELLO);
      await write(store, 'a', HELLO);
      await rejects('ALREADY_EXISTS', writer.commit({}));
      await writer.close();
      assert.deepEqual(await store.statuses(), []);
    });

    check('a commit with another size or digest is FAILED_PRECONDITION, and the ingest is kept', async ({ store }) => {
      const writer = await store.writer({ ref: 'a' });
      await writer.write(HELLO);
      await rejects('FAILED_PRECONDITION', writer.commit({ size: HELLO.byteLength + 1 }));
      await rejects('FAILED_PRECONDITION', writer.commit({ expected: ABSENT }));
      if (subject.can.checkPromises) await rejects('INVALID_ARGUMENT', writer.commit({ expected: 'sha256:../x' }));
      await writer.close();
      assert.equal((await store.status('a')).offset, HELLO.byteLength);
      assert.deepEqual(await walked(store), []);
      const again = await store.writer({ ref: 'a' });
      assert.equal((await again.commit({ expected: digest(HELLO) })).digest, digest(HELLO));
    });

    check('a writer that ended leaves its ref to the next one', async ({ store }) => {
      const ended = await store.writer({ ref: 'a' });
      await ended.write(HELLO);
      await ended.commit({});
      const next = await store.writer({ ref: 'a' });
      assert.equal(next.status().offset, 0);
      await ended.close();
      await rejects('UNAVAILABLE', store.writer({ ref: 'a' }));
      await next.write(bytes('more'));
      assert.equal((await next.commit({})).digest, digest(bytes('more')));
    });

    check('a writer that was closed writes no more', async ({ store }) => {
      const writer = await store.writer({ ref: 'a' });
      await writer.write(HELLO);
      await writer.close();
      await rejects('FAILED_PRECONDITION', writer.write(HELLO));
      await rejects('FAILED_PRECONDITION', writer.commit({}));
      assert.equal((await store.status('a')).offset, HELLO.byteLength);
      assert.deepEqual(await walked(store), []);
    });

    check('a writer that ended refuses everything', async ({ store }) => {
      const writer = await store.writer({ ref: 'a' });
      await writer.write(HELLO);
      await writer.commit({});
      await rejects('FAILED_PRECONDITION', writer.write(HELLO));
      await rejects('FAILED_PRECONDITION', writer.commit({}));
      await rejects('FAILED_PRECONDITION', writer.truncate(0));
      await writer.close();
    });

    check('truncate starts over, or goes back', async ({ store }) => {
      const writer = await store.writer({ ref: 'a' });
      await writer.write(bytes('wrong'));
      if (subject.can.truncateAnywhere) {
        await rejects('OUT_OF_RANGE', writer.truncate(6));
        await rejects('OUT_OF_RANGE', writer.truncate(-1));
        await writer.truncate(2);
        assert.equal(writer.status().offset, 2);
        assert.equal(writer.digest(), digest(bytes('wr')));
        await writer.write(bytes('ite'));
      }
      await writer.truncate(0);
      assert.equal(writer.status().offset, 0);
      await writer.write(HELLO);
      assert.equal((await writer.commit({ expected: digest(HELLO) })).size, HELLO.byteLength);
    });
  });

  runner.describe(`${subject.name}: ingests`, () => {
    const half = HELLO.subarray(0, 6);
    const rest = HELLO.subarray(6);

    const begin = async (store: ContentStore): Promise<void> => {
      const writer = await store.writer({ ref: 'a', total: HELLO.byteLength, expected: digest(HELLO) });
      await writer.write(half);
      await writer.close();
    };

    const finish = async (store: ContentStore): Promise<void> => {
      const writer = await store.writer({ ref: 'a', total: HELLO.byteLength, expected: digest(HELLO) });
      assert.equal(writer.status().offset, half.byteLength);
      assert.equal(writer.digest(), digest(half));
      await writer.write(rest);
      await writer.commit({ size: HELLO.byteLength, expected: digest(HELLO) });
    };

    check('a closed one is listed and resumed', async ({ store }) => {
      await begin(store);
      const status = await store.status('a');
      assert.equal(status.ref, 'a');
      assert.equal(status.offset, half.byteLength);
      assert.equal(status.total, HELLO.byteLength);
      if (subject.can.keepExpectation) assert.equal(status.expected, digest(HELLO));
      assert.ok(status.startedAt <= status.updatedAt);
      assert.deepEqual(refs(await store.statuses()), ['a']);
      await finish(store);
      assert.deepEqual(await store.statuses(), []);
    });

    check('a restart does not lose it, where the store says so', async ({ store, close }, root) => {
      await begin(store);
      await close();
      const restarted = await subject.open(root);
      try {
        if (subject.can.resumeAfterRestart) await finish(restarted.store);
        else await rejects('NOT_FOUND', restarted.store.status('a'));
      } finally {
        await restarted.close();
      }
    });

    check('another total starts over, where the store says so', async ({ store }) => {
      await begin(store);
      const writer = await store.writer({ ref: 'a', total: 99 });
      assert.equal(writer.status().offset, subject.can.restartOnNewTotal ? 0 : half.byteLength);
      if (subject.can.restartOnNewTotal) assert.equal(writer.status().total, 99);
      await writer.close();
    });

    check('an unknown total does not start over', async ({ store }) => {
      await begin(store);
      const writer = await store.writer({ ref: 'a' });
      assert.equal(writer.status().offset, half.byteLength);
      assert.equal(writer.status().total, HELLO.byteLength);
      await writer.close();
    });

    check('abort forgets it and no other', async ({ store }) => {
      await begin(store);
      await (await store.writer({ ref: 'b' })).close();
      assert.deepEqual(refs(await store.statuses()), ['a', 'b']);
      await store.abort('a');
      assert.deepEqual(refs(await store.statuses()), ['b']);
      await rejects('NOT_FOUND', store.status('a'));
      await rejects('NOT_FOUND', store.abort('a'));
      const writer = await store.writer({ ref: 'a' });
      assert.equal(writer.status().offset, 0);
      await writer.close();
    });

    check('an unknown one is NOT_FOUND', async ({ store }) => {
      await rejects('NOT_FOUND', store.status('nothing'));
      await rejects('NOT_FOUND', store.abort('nothing'));
      await rejects('NOT_FOUND', store.abort(''));
    });
  });

  runner.describe(`${subject.name}: historic bugs`, () => {
    for (const [title, body] of Object.entries(issueChecks))
      check(title, (opened, root) => body(opened, { can: subject.can, again: () => subject.open(root) }));
  });
}
