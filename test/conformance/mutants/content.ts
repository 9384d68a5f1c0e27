/** Content stores with one behaviour broken each: the store of the tree, with some of its calls replaced. */
import type { BlobReader, BlobWriter, ContentStore, OpenWriter } from '../../../kernel/contracts/content.js';
import { type ErrorCode, hasCode, notFound, unavailable } from '../../../kernel/errors.js';
import { LocalStore } from '../../../plugins/content/store.js';
import type { ContentSubject, OpenStore } from '../content.js';
import { altered } from './altered.js';
import type { Mutant } from './mutant.js';
import { Opened } from './opened.js';

async function openTidily(root: string): Promise<OpenStore> {
  const store = await LocalStore.open(root);
  const opened = new Opened();
  return {
    store: altered<ContentStore>(store, {
      writer: (options) => opened.noted(store.writer(options)),
      reader: (digest) => opened.noted(store.reader(digest)),
    }),
    async close() {
      await opened.close();
      store.close();
    },
  };
}

export const soundContent: ContentSubject = {
  name: 'content',
  unavailable: async () => undefined,
  can: {
    resumeAfterRestart: true,
    longDigests: true,
    keepExpectation: true,
    checkPromises: true,
    restartOnNewTotal: true,
    dropKnown: true,
    truncateAnywhere: true,
    readDeleted: true,
    protectLocked: true,
  },
  open: openTidily,
};

type Calls = Partial<ContentStore>;

/** Calls are replaced anew whenever a store is opened. */
function mutant(title: string, caughtBy: RegExp, change: (store: ContentStore) => Calls | Promise<Calls>) {
  const open = async (root: string) => {
    const { store, close } = await soundContent.open(root);
    return { store: altered(store, await change(store)), close };
  };
  return { title, caughtBy, subject: (): ContentSubject => ({ ...soundContent, open }) };
}

type Writers = (writer: BlobWriter, store: ContentStore, options: OpenWriter) => Partial<BlobWriter>;

const ofWriters = (title: string, caughtBy: RegExp, change: Writers): Mutant<ContentSubject> =>
  mutant(title, caughtBy, (store) => ({
    async writer(options) {
      const writer = await store.writer(options);
      return altered(writer, change(writer, store, options));
    },
  }));

const ofReaders = (
  title: string,
  caughtBy: RegExp,
  change: (reader: BlobReader) => Partial<BlobReader>,
): Mutant<ContentSubject> =>
  mutant(title, caughtBy, (store) => ({
    async reader(digest) {
      const reader = await store.reader(digest);
      return altered(reader, change(reader));
    },
  }));

/** What the work resolves to, or `instead` where it fails with that code. */
const unless = <T>(code: ErrorCode, work: Promise<T>, instead: (error: unknown) => T | Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    if (!hasCode(error, code)) throw error;
    return instead(error);
  });

/** A second writer of a ref is given the one that is open. */
function withoutLocks(store: ContentStore): Calls {
  const open = new Map<string, BlobWriter>();
  return {
    writer: (options) =>
      unless(
        'UNAVAILABLE',
        store.writer(options).then((writer) => {
          open.set(options.ref, writer);
          return writer;
        }),
        (error) => {
          const writer = open.get(options.ref);
          if (writer === undefined) throw error;
          return writer;
        },
      ),
  };
}

/** One lock for all refs. */
function withOneLock(store: ContentStore): Calls {
  let held = false;
  return {
    async writer(options) {
      if (held) throw unavailable('another ingest is being written');
      const writer = await store.writer(options);
      held = true;
      const close = async (): Promise<void> => {
        held = false;
        await writer.close();
      };
      return altered(writer, { close });
    },
  };
}

/** Closing a writer that has committed lets go of a ref that is no longer its own. */
function unlockedByTheDead(store: ContentStore): Calls {
  const open = new Map<string, BlobWriter>();
  return {
    async writer(options) {
      const { ref } = options;
      const writer = await store.writer(options);
      open.set(ref, writer);
      return altered(writer, { close: async () => open.get(ref)?.close() });
    },
  };
}

/** A chunk is kept, and written with the next call. */
function lateWriter(writer: BlobWriter): Partial<BlobWriter> {
  let waiting: Uint8Array = new Uint8Array(0);
  return {
    async write(chunk) {
      const earlier = waiting;
      waiting = chunk;
      await writer.write(earlier);
    },
    async commit(expectation) {
      await writer.write(waiting);
      return writer.commit(expectation);
    },
  };
}

async function* firstOf<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const item of items) {
    yield item;
    return;
  }
}

async function* twice<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const item of items) yield* [item, item];
}

/** Readers of one blob share it: the first to close it closes it for all. */
function sharedReaders(store: ContentStore): Calls {
  const closed = new Set<string>();
  return {
    async reader(digest) {
      const reader = await store.reader(digest);
      closed.delete(digest);
      return altered(reader, {
        async read(target, offset) {
          if (closed.has(digest)) throw notFound(`content "${digest}" is closed`);
          return reader.read(target, offset);
        },
        async close() {
          closed.add(digest);
          await reader.close();
        },
      });
    },
  };
}

/** A writer whose commit finds the content here keeps its ref locked until it is closed. */
function lockedByTheLate(store: ContentStore): Calls {
  const held = new Set<string>();
  return {
    async writer(options) {
      if (held.has(options.ref)) throw unavailable(`ingest "${options.ref}" is being written`);
      const writer = await store.writer(options);
      return altered(writer, {
        commit: (expectation) =>
          writer.commit(expectation).catch((error: unknown) => {
            if (hasCode(error, 'ALREADY_EXISTS')) held.add(options.ref);
            throw error;
          }),
        async close() {
          held.delete(options.ref);
          await writer.close();
        },
      });
    },
  };
}

/** A commit of what is here makes its time anew. */
function touchedByCommits(store: ContentStore): Calls {
  let late = 0n;
  return {
    async info(digest) {
      const info = await store.info(digest);
      return { ...info, updatedAt: info.updatedAt + late };
    },
    async writer(options) {
      const writer = await store.writer(options);
      return altered(writer, {
        commit: (expectation) =>
          writer.commit(expectation).catch((error: unknown) => {
            late += 1n;
            throw error;
          }),
      });
    },
  };
}

/** Refs whose writer was closed before it got anything. */
function lostWithoutBytes(store: ContentStore): Calls {
  return {
    async writer(options) {
      const found = (await store.statuses()).find(({ ref }) => ref === options.ref);
      if (found?.offset === 0) throw unavailable(`ingest "${options.ref}" cannot be resumed`);
      return store.writer(options);
    },
  };
}

/** What was there when the ingest was resumed counts for its digest, also when it was cut off since. */
const digestOfAllEver: Writers = (writer) => {
  let cut = writer.status().offset > 0;
  return {
    async truncate(size) {
      await writer.truncate(size);
      if (cut) await writer.write(new Uint8Array(1));
      cut = false;
    },
  };
};

function lockedByAsking(store: ContentStore): Calls {
  const asked = new Set<string>();
  return {
    async status(ref) {
      asked.add(ref);
      return store.status(ref);
    },
    async writer(options) {
      if (asked.has(options.ref)) throw unavailable(`ingest "${options.ref}" is being looked at`);
      return store.writer(options);
    },
  };
}

/** Bytes of a message of gRPC, as this kit's clients send it. */
const MESSAGE = 16 << 20;

export const contentMutants: readonly Mutant<ContentSubject>[] = [
  mutant('a commit that is late keeps the ref', /issues\/2708/, lockedByTheLate),
  mutant('a commit of what is here changes its time', /pull\/2642/, touchedByCommits),
  mutant('an ingest without bytes is not resumed', /issues\/3089/, lostWithoutBytes),
  ofWriters('bytes from before a truncation are committed', /issues\/3974/, digestOfAllEver),
  mutant('who asks for an ingest locks it', /pull\/1241/, lockedByAsking),
  ofWriters('of a large chunk only a message is written', /issues\/11440/, (writer) => ({
    write: (chunk) => writer.write(chunk.subarray(0, MESSAGE)),
  })),
  ofWriters('bytes of another digest than expected are committed', /another size or digest/, (writer) => ({
    commit: ({ size = 0 }) => writer.commit({ size }),
  })),
  ofWriters('bytes of another size than expected are committed', /another size or digest/, (writer) => ({
    commit: ({ expected = '' }) => writer.commit({ expected }),
  })),
  ofWriters('a refused commit drops the ingest', /another size or digest/, (writer, store, { ref }) => ({
    commit: (expectation) =>
      writer.commit(expectation).catch(async (error: unknown) => {
        await writer.close();
        await store.abort(ref);
        throw error;
      }),
  })),
  ofWriters('a commit of content that is here counts as a success', /content that is here/, (writer, store) => ({
    commit: (expectation) => {
      const digest = writer.digest();
      return unless('ALREADY_EXISTS', writer.commit(expectation), () => store.info(digest));
    },
  })),
  mutant('a digest that is promised and here is to be written again', /expected content that is here/, (store) => ({
    writer: ({ ref, total = 0 }) => store.writer({ ref, total }),
  })),
  mutant('a ref is not locked', /an open writer locks its ref/, withoutLocks),
  mutant('a writer locks every ref', /an open writer locks its ref and no other/, withOneLock),
  mutant('a writer that ended unlocks the ref of the next one', /a writer that ended/, unlockedByTheDead),
  ofWriters(
    'a writer that is closed drops its ingest',
    /a closed one is listed and resumed/,
    (writer, store, { ref }) => ({
      async close() {
        await writer.close();
        await unless('NOT_FOUND', store.abort(ref), () => undefined);
      },
    }),
  ),
  ofWriters('a writer that is closed goes on writing', /a writer that was closed writes no more/, () => ({
    close: async () => undefined,
  })),
  ofWriters('truncate goes back to the beginning, wherever it was to go', /truncate starts over/, (writer) => ({
    async truncate(size) {
      await writer.truncate(size);
      await writer.truncate(0);
    },
  })),
  ofWriters('a chunk is written after it was given back', /a chunk may be reused/, lateWriter),
  mutant('a restart loses ingests', /a restart does not lose it/, async (store) => {
    for (const { ref } of await store.statuses()) await store.abort(ref);
    return {};
  }),
  mutant('an ingest of another total goes on', /another total starts over/, (store) => ({
    writer: ({ ref, expected = '' }) => store.writer({ ref, expected }),
  })),
  mutant('an abort drops the other ingests too', /abort forgets it and no other/, (store) => ({
    async abort(ref) {
      await store.abort(ref);
      for (const other of await store.statuses()) await store.abort(other.ref);
    },
  })),
  mutant('a deletion of what is not here succeeds', /what is not here is NOT_FOUND/, (store) => ({
    delete: (digest) => unless('NOT_FOUND', store.delete(digest), () => undefined),
  })),
  mutant('a malformed digest is only not found', /digest ".*" is INVALID_ARGUMENT/, (store) => ({
    info: (digest) =>
      unless('INVALID_ARGUMENT', store.info(digest), () => {
        throw notFound(`content "${digest}" not found`);
      }),
  })),
  mutant('the time of a commit is not told', /found, walked and read/, (store) => ({
    info: async (digest) => ({ ...(await store.info(digest)), createdAt: 0n }),
  })),
  mutant('only the first blob is walked', /several are walked/, (store) => ({ walk: () => firstOf(store.walk()) })),
  mutant('a blob is walked twice', /found, walked and read/, (store) => ({ walk: () => twice(store.walk()) })),
  ofReaders('a reader counts bytes after the end', /reads parts, and less at the end/, (reader) => ({
    async read(target, offset) {
      await reader.read(target, offset);
      return target.length;
    },
  })),
  ofReaders('a reader begins at the beginning, whatever the offset', /reads parts/, (reader) => ({
    read: (target) => reader.read(target, 0),
  })),
  mutant('a reader that is closed closes the others', /readers of one blob/, sharedReaders),
];
