/** One check for each bug that content stores had before, with its link. */
import assert from 'node:assert/strict';
import {
  bytes,
  type ContentSubject,
  digest,
  HELLO,
  type OpenStore,
  read,
  rejects,
  write,
} from './content.workbench.js';

interface Around {
  readonly can: ContentSubject['can'];
  /** Opens the same store again, after it was closed. */
  again(): Promise<OpenStore>;
}

/** A check gets a store that holds nothing yet. */
type Check = (opened: OpenStore, around: Around) => Promise<void>;

/** More than a message of gRPC may hold. */
const LARGE = 20 << 20;

export const issueChecks: Readonly<Record<string, Check>> = {
  'https://github.com/containerd/containerd/issues/2708: a commit of what is here lets the ref go': async ({
    store,
  }) => {
    await write(store, 'first', HELLO);
    const writer = await store.writer({ ref: 'second' });
    await writer.write(HELLO);
    await rejects('ALREADY_EXISTS', writer.commit({}));
    // the one that failed is not closed: whoever gets ALREADY_EXISTS may take it for success
    const next = await store.writer({ ref: 'second' });
    assert.equal(next.status().offset, 0);
    await next.close();
    await writer.close();
  },

  'https://github.com/containerd/containerd/pull/2642: a commit of what is here changes nothing of it': async ({
    store,
  }) => {
    const { digest: name } = await write(store, 'first', HELLO);
    const before = await store.info(name);
    for (const ref of ['second', 'third']) {
      const writer = await store.writer({ ref });
      await writer.write(HELLO);
      await rejects('ALREADY_EXISTS', writer.commit({}));
      await writer.close();
    }
    assert.deepEqual(await store.info(name), before);
    assert.deepEqual(await read(store, name), Buffer.from(HELLO));
  },

  'https://github.com/containerd/containerd/issues/3089: an ingest that was cut off before its first byte goes on':
    async ({ store, close }, { can, again }) => {
      const options = { ref: 'a', total: HELLO.byteLength, expected: digest(HELLO) };
      await (await store.writer(options)).close();
      if (can.resumeAfterRestart) await close();
      const opened = can.resumeAfterRestart ? await again() : { store, close };
      const writer = await opened.store.writer(options);
      assert.equal(writer.status().offset, 0);
      await writer.write(HELLO);
      await writer.commit({ size: HELLO.byteLength, expected: digest(HELLO) });
      await opened.close();
    },

  'https://github.com/containerd/containerd/issues/3974: what is begun anew after a resume has the digest of what it got then':
    async ({ store }) => {
      const first = await store.writer({ ref: 'a', total: HELLO.byteLength });
      await first.write(HELLO.subarray(0, 5));
      await first.close();
      const second = await store.writer({ ref: 'a', total: HELLO.byteLength });
      assert.equal(second.status().offset, 5);
      await second.truncate(0);
      await second.write(HELLO);
      const { digest: name, size } = await second.commit({ size: HELLO.byteLength, expected: digest(HELLO) });
      assert.deepEqual([name, size], [digest(HELLO), HELLO.byteLength]);
    },

  'https://github.com/containerd/containerd/pull/1241: asking for an ingest does not lock it, and closing its writer frees it':
    async ({ store }) => {
      for (let round = 0; round < 3; round += 1) {
        const writer = await store.writer({ ref: 'a' });
        assert.equal(writer.status().offset, round * 2);
        await writer.write(bytes('xy'));
        await writer.close();
        assert.equal((await store.status('a')).offset, round * 2 + 2);
        assert.equal((await store.statuses()).length, 1);
      }
    },

  'https://github.com/containerd/containerd/issues/11440: a chunk may be larger than a message': async ({ store }) => {
    const content = Buffer.alloc(LARGE, 'chunk');
    const { digest: name } = await write(store, 'large', content);
    assert.equal(digest(await read(store, name)), digest(content));
  },
};
