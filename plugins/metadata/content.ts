import { ContentDelete } from '../../api/gen/events/content.js';
import type {
  BlobReader,
  Content,
  ContentInfo,
  ContentStore,
  ContentWriter,
  IngestStatus,
  OpenWriter,
} from '../../kernel/contracts/content.js';
import type { Labels, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, dataLoss, hasCode, notFound } from '../../kernel/errors.js';
import { hasher, parseDigest } from '../../lib/digest.js';
import { compileFilters, type Fields, mapField } from '../../lib/filters/filters.js';
import { updateLabels } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import { integer, type Row, size, stringMap, text } from '../../lib/sqlite/row.js';
import { NamespacedWriter } from './content-writer.js';
import { type Core, checkName, namespaceOf, touchNamespace } from './core.js';
import { leaseIt, unleaseIt } from './lease-resources.js';
import { contentNode, identity, ingestNode } from './node.js';

const VERIFY_CHUNK = 1024 * 1024;

/** Whether the bytes in the store are those of the digest. NOT_FOUND when there are none. */
async function isIntact(store: ContentStore, digest: string): Promise<boolean> {
  const { algorithm, hex } = parseDigest(digest);
  const reader = await store.reader(digest);
  try {
    const hash = hasher(algorithm);
    const buffer = new Uint8Array(VERIFY_CHUNK);
    for (let offset = 0; offset < reader.size; ) {
      const count = await reader.read(buffer, offset);
      if (count === 0) return false;
      hash.update(buffer.subarray(0, count));
      offset += count;
    }
    return hash.digest('hex') === hex;
  } catch (error) {
    // The disk cannot return them: as good as damaged.
    if (!hasCode(error, 'DATA_LOSS')) throw error;
    return false;
  } finally {
    await reader.close();
  }
}

/** How long an ingest lives that no lease holds. */
const INGEST_LIFE = 24n * 3600n * 1_000_000_000n;

const toInfo = (row: Row): ContentInfo => ({
  digest: text(row, 'digest'),
  size: size(row, 'size'),
  createdAt: integer(row, 'created'),
  updatedAt: integer(row, 'updated'),
  labels: stringMap(row, 'labels'),
});

const fieldsOf =
  ({ digest, labels }: ContentInfo): Fields =>
  ([first, ...rest]) => {
    if (first === 'digest') return digest;
    return first === 'labels' ? mapField(labels, rest) : undefined;
  };

export interface ContentOptions {
  readonly store: ContentStore;
  /** Content of other namespaces may be taken over without an upload. */
  readonly shared: boolean;
}

interface Ingest {
  readonly ref: string;
  readonly backendRef: string;
  /** Digest of a blob in the store that this ingest stands for; empty when it has bytes of its own. */
  readonly expected: string;
}

/** Content as one namespace sees it. */
export class ContentRecords implements Content {
  readonly #core: Core;
  readonly #store: ContentStore;
  readonly #shared: boolean;

  constructor(core: Core, { store, shared }: ContentOptions) {
    this.#core = core;
    this.#store = store;
    this.#shared = shared;
  }

  async info(scope: Scope, digest: string): Promise<ContentInfo> {
    parseDigest(digest);
    return this.#read(this.#core.database, namespaceOf(scope), digest);
  }

  async update(scope: Scope, digest: string, labels: Labels, mask?: UpdateMask): Promise<ContentInfo> {
    parseDigest(digest);
    const namespace = namespaceOf(scope);
    return this.#core.mutate((sql) => {
      const current = this.#read(sql, namespace, digest);
      const updated = updateLabels(`content "${digest}"`, current.labels, labels, mask);
      const updatedAt = this.#core.clock.wall();
      const where = 'ns = ? AND digest = ?';
      sql.run(
        `UPDATE content SET labels = ?, updated = ? WHERE ${where}`,
        JSON.stringify(updated),
        updatedAt,
        namespace,
        digest,
      );
      this.#core.touch(contentNode(namespace, digest));
      return { ...current, labels: updated, updatedAt };
    });
  }

  async *walk(scope: Scope, filters?: readonly string[]): AsyncIterable<ContentInfo> {
    const matches = compileFilters(filters);
    const sql = 'SELECT * FROM content WHERE ns = ? AND digest > ? ORDER BY digest LIMIT ?';
    for await (const rows of this.#core.pages(sql, 'digest', namespaceOf(scope))) {
      yield* rows.map(toInfo).filter((info) => matches(fieldsOf(info)));
    }
  }

  async reader(scope: Scope, digest: string): Promise<BlobReader> {
    parseDigest(digest);
    const committed = this.#sizeOf(namespaceOf(scope), digest);
    const reader = await this.#store.reader(digest);
    if (reader.size === committed) return reader;
    await reader.close();
    throw dataLoss(`content "${digest}" has ${reader.size} bytes on disk, ${committed} were committed`, {
      remedy: 'pull it again: that repairs it',
    });
  }

  async verify(scope: Scope, digest: string): Promise<boolean> {
    await this.info(scope, digest);
    // Alone among everything that records or deletes that blob.
    return this.#core.backendLock.run(digest, async () => {
      try {
        if (await isIntact(this.#store, digest)) return true;
        await this.#store.delete(digest);
      } catch (error) {
        if (!hasCode(error, 'NOT_FOUND')) throw error;
      }
      return false;
    });
  }

  async writer(scope: Scope, options: OpenWriter): Promise<ContentWriter> {
    const { ref, total = 0, expected = '' } = options;
    namespaceOf(scope);
    checkName(ref, 'ref of an ingest');
    if (expected !== '') parseDigest(expected);
    const open = async (): Promise<ContentWriter> => {
      const here = expected !== '' && (await this.#isInStore(expected, total));
      const ingest = await this.#record(scope, ref, here ? expected : '');
      if (!ingest) throw alreadyExists(`content "${expected}" already exists`);
      return this.#openWriter(scope, ingest, { total, expected });
    };
    // Alone among everything that records or deletes that blob.
    return expected === '' ? open() : this.#core.backendLock.run(expected, open);
  }

  async delete(scope: Scope, digest: string): Promise<void> {
    parseDigest(digest);
    const namespace = namespaceOf(scope);
    await this.#core.remove((sql) => {
      if (sql.run('DELETE FROM content WHERE ns = ? AND digest = ?', namespace, digest) === 0) {
        throw notFound(`content "${digest}" not found`);
      }
      sql.run('INSERT OR IGNORE INTO orphan_content VALUES (?)', digest);
      unleaseIt(sql, scope, 'content', digest);
    });
    this.#core.publish(namespace, '/content/delete', packAny(ContentDelete, { digest }));
  }

  async status(scope: Scope, ref: string): Promise<IngestStatus> {
    const status = await this.#statusOf(this.#ingest(this.#core.database, namespaceOf(scope), ref));
    if (!status) throw notFound(`ingest "${ref}" not found`);
    return status;
  }

  async statuses(scope: Scope, filters?: readonly string[]): Promise<readonly IngestStatus[]> {
    const matches = compileFilters(filters);
    const sql = 'SELECT ref, backend_ref, expected FROM ingests WHERE ns = ? ORDER BY ref';
    const rows = this.#core.database.all(sql, namespaceOf(scope));
    const wanted = rows.map(toIngest).filter(({ ref }) => matches(([field]) => (field === 'ref' ? ref : undefined)));
    const statuses = await Promise.all(wanted.map((ingest) => this.#statusOf(ingest)));
    return statuses.filter((status) => status !== undefined);
  }

  async abort(scope: Scope, ref: string): Promise<void> {
    const namespace = namespaceOf(scope);
    await this.#core.remove((sql) => {
      this.#deleteIngest(sql, scope, ref, this.#ingest(sql, namespace, ref).backendRef);
    });
    this.#core.expiries.forget(identity(ingestNode(namespace, ref)));
  }

  #read(sql: Reader, namespace: string, digest: string): ContentInfo {
    const row = sql.get('SELECT * FROM content WHERE ns = ? AND digest = ?', namespace, digest);
    if (!row) throw notFound(`content "${digest}" not found`);
    return toInfo(row);
  }

  /** Without the labels, which may be many: clients open a reader for every few bytes. */
  #sizeOf(namespace: string, digest: string): number {
    const row = this.#core.database.get('SELECT size FROM content WHERE ns = ? AND digest = ?', namespace, digest);
    if (!row) throw notFound(`content "${digest}" not found`);
    return size(row, 'size');
  }

  #holds(sql: Reader, namespace: string, digest: string): boolean {
    return sql.get('SELECT 1 FROM content WHERE ns = ? AND digest = ?', namespace, digest) !== undefined;
  }

  #ingest(sql: Reader, namespace: string, ref: string): Ingest {
    const columns = 'ref, backend_ref, expected';
    const row = sql.get(`SELECT ${columns} FROM ingests WHERE ns = ? AND ref = ?`, namespace, ref);
    if (!row) throw notFound(`ingest "${ref}" not found`);
    return toIngest(row);
  }

  /** Also tells a blob that was damaged or lost from one that is whole, so that writing it again repairs it. */
  async #isInStore(digest: string, total: number): Promise<boolean> {
    try {
      const { size: bytes } = await this.#store.info(digest);
      const row = this.#core.database.get('SELECT size FROM content WHERE digest = ? LIMIT 1', digest);
      const whole = row === undefined || size(row, 'size') === bytes;
      return whole && (total === 0 || total === bytes);
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return false;
      throw error;
    }
  }

  #mayShare(sql: Reader, digest: string): boolean {
    if (this.#shared) return true;
    const sharers = sql.all(
      'SELECT n.labels FROM content c JOIN namespaces n ON n.name = c.ns WHERE c.digest = ?',
      digest,
    );
    return sharers.some((row) => stringMap(row, 'labels')['containerd.io/namespace.shareable'] === 'true');
  }

  /**
   * Records the ingest, or takes up the one there is; undefined when the namespace holds the
   * content. `inStore` is the digest expected, if the store has it. The ingest needs no record
   * that survives a power cut: its bytes would be useless then.
   */
  async #record(scope: Scope, ref: string, inStore: string): Promise<Ingest | undefined> {
    const { namespace } = scope;
    const backendRef = `${namespace}/${await this.#core.sequence()}/${ref}`;
    return this.#core.mutate(
      (sql) => {
        if (inStore !== '' && this.#holds(sql, namespace, inStore)) {
          this.#takeInstead(sql, scope, ref, inStore);
          return undefined;
        }
        const expected = inStore !== '' && this.#mayShare(sql, inStore) ? inStore : '';
        touchNamespace(sql, namespace);
        this.#writeIngest(sql, scope, { ref, backendRef, expected });
        return this.#ingest(sql, namespace, ref);
      },
      { durable: false },
    );
  }

  /** The content goes into the caller's lease, and the ingest away. */
  #takeInstead(sql: Writer, scope: Scope, ref: string, digest: string): void {
    const { namespace } = scope;
    leaseIt(this.#core, sql, scope, 'content', digest, contentNode(namespace, digest));
    const row = sql.get('SELECT backend_ref FROM ingests WHERE ns = ? AND ref = ?', namespace, ref);
    if (row) this.#deleteIngest(sql, scope, ref, text(row, 'backend_ref'));
  }

  #deleteIngest(sql: Writer, scope: Scope, ref: string, backendRef: string): void {
    sql.run('INSERT OR IGNORE INTO orphan_ingests VALUES (?)', backendRef);
    sql.run('DELETE FROM ingests WHERE ns = ? AND ref = ?', scope.namespace, ref);
    unleaseIt(sql, scope, 'ingests', ref);
  }

  #writeIngest(sql: Writer, scope: Scope, { ref, backendRef, expected }: Ingest): void {
    const { namespace } = scope;
    const node = ingestNode(namespace, ref);
    const leased = leaseIt(this.#core, sql, scope, 'ingests', ref, node);
    const now = this.#core.clock.wall();
    const expires = leased ? null : now + INGEST_LIFE;
    sql.run(
      `INSERT INTO ingests VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (ns, ref) DO UPDATE SET expires = excluded.expires, expected = excluded.expected`,
      ...[namespace, ref, backendRef, expected, expires, now],
    );
    this.#core.touch(node);
    if (expires !== null) this.#core.expiresIn(this.#core.expiries.remaining(identity(node), expires, now));
  }

  async #openWriter(
    scope: Scope,
    { ref, backendRef, expected }: Ingest,
    promised: { readonly total: number; readonly expected: string },
  ): Promise<ContentWriter> {
    const parts = { core: this.#core, store: this.#store, scope, ref, backendRef };
    if (expected !== '') return NamespacedWriter.ofBlob(parts, await this.#store.info(expected));
    return NamespacedWriter.ofIngest(parts, promised);
  }

  async #statusOf({ ref, backendRef, expected }: Ingest): Promise<IngestStatus | undefined> {
    try {
      if (expected === '') return { ...(await this.#store.status(backendRef)), ref };
      const { size: bytes, createdAt: startedAt, updatedAt } = await this.#store.info(expected);
      return { ref, offset: bytes, total: bytes, expected, startedAt, updatedAt };
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }
}

function toIngest(row: Row): Ingest {
  return { ref: text(row, 'ref'), backendRef: text(row, 'backend_ref'), expected: text(row, 'expected') };
}
