import { ContentCreate } from '../../api/gen/events/content.js';
import type {
  BlobInfo,
  BlobReader,
  BlobWriter,
  CommitContent,
  ContentInfo,
  ContentStore,
  ContentWriter,
  IngestStatus,
} from '../../kernel/contracts/content.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import { aborted, alreadyExists, failedPrecondition, hasCode, outOfRange } from '../../kernel/errors.js';
import { CANONICAL, parseDigest } from '../../lib/digest.js';
import { failpoint } from '../../lib/failpoint.js';
import { checkLabels, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Writer } from '../../lib/sqlite/database.js';
import type { Core } from './core.js';
import { leaseIt, unleaseIt } from './lease-resources.js';
import { contentNode, identity, ingestNode } from './node.js';

const COPY_CHUNK = 1024 * 1024;

export interface WriterParts {
  readonly core: Core;
  readonly store: ContentStore;
  readonly scope: Scope;
  readonly ref: string;
  readonly backendRef: string;
}

/** What the caller said the ingest will be. */
export interface Promised {
  readonly total: number;
  readonly expected: string;
}

/** True when going on with these bytes can only end in another digest. */
function isHopeless(writer: BlobWriter, { total, expected }: Promised): boolean {
  const { offset } = writer.status();
  if (total === 0 || offset < total) return false;
  const comparable = expected !== '' && parseDigest(expected).algorithm === CANONICAL;
  return offset > total || (comparable && writer.digest() !== expected);
}

async function copy(reader: BlobReader, writer: BlobWriter, size: number): Promise<void> {
  const buffer = new Uint8Array(Math.min(size, COPY_CHUNK));
  for (let offset = 0; offset < size; offset += buffer.byteLength) {
    const wanted = buffer.subarray(0, Math.min(buffer.byteLength, size - offset));
    await writer.write(wanted.subarray(0, await reader.read(wanted, offset)));
  }
}

/**
 * A writer of one namespace. It either writes an ingest of the store, or stands
 * for a blob that is there already, until somebody writes to it after all.
 */
export class NamespacedWriter implements ContentWriter {
  readonly #parts: WriterParts;
  #inner: BlobWriter | undefined;
  #blob: BlobInfo | undefined;

  private constructor(parts: WriterParts, inner: BlobWriter | undefined, blob: BlobInfo | undefined) {
    this.#parts = parts;
    this.#inner = inner;
    this.#blob = blob;
  }

  static async ofIngest(parts: WriterParts, promised: Promised): Promise<NamespacedWriter> {
    const inner = await parts.store.writer({ ref: parts.backendRef, total: promised.total });
    if (isHopeless(inner, promised)) await inner.truncate(0);
    return new NamespacedWriter(parts, inner, undefined);
  }

  static ofBlob(parts: WriterParts, blob: BlobInfo): NamespacedWriter {
    return new NamespacedWriter(parts, undefined, blob);
  }

  status(): IngestStatus {
    const { ref } = this.#parts;
    if (this.#inner) return { ...this.#inner.status(), ref };
    const { size, digest: expected, createdAt: startedAt, updatedAt } = this.#requireBlob();
    return { ref, offset: size, total: size, expected, startedAt, updatedAt };
  }

  digest(): string {
    return this.#inner ? this.#inner.digest() : this.#requireBlob().digest;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength === 0) return;
    const inner = this.#inner ?? (await this.#copyBlob(this.#requireBlob().size));
    await inner.write(chunk);
  }

  async truncate(size: number): Promise<void> {
    if (this.#inner) return this.#inner.truncate(size);
    const blob = this.#requireBlob();
    if (!Number.isSafeInteger(size) || size < 0 || size > blob.size) {
      throw outOfRange(`cannot truncate ingest "${this.#parts.ref}" of ${blob.size} bytes to ${size}`);
    }
    await this.#copyBlob(size);
  }

  async commit({ size = 0, expected = '', labels = {} }: CommitContent): Promise<ContentInfo> {
    checkLabels(labels);
    if (expected !== '') parseDigest(expected);
    const { core, ref, scope } = this.#parts;
    const digest = expected || this.digest();
    const info = await core.backendLock.run(digest, async () => {
      const blob = await this.#commitBytes({ size, expected });
      failpoint('content.meta');
      return this.#record(blob, withoutEmpty(labels));
    });
    core.expiries.forget(identity(ingestNode(scope.namespace, ref)));
    const event = { digest: info.digest, size: BigInt(info.size), mediaType: '' };
    core.publish(scope.namespace, '/content/create', packAny(ContentCreate, event));
    return info;
  }

  async close(): Promise<void> {
    if (!this.#inner) return;
    await this.#inner.close();
    const { core, backendRef } = this.#parts;
    // Aborted or collected while it was open: now its bytes can go.
    if (core.database.get('SELECT 1 FROM orphan_ingests WHERE backend_ref = ?', backendRef)) core.noticeGarbage();
  }

  #requireBlob(): BlobInfo {
    if (this.#blob) return this.#blob;
    throw failedPrecondition(`the writer of ingest "${this.#parts.ref}" is closed`);
  }

  /** Makes the ingest one of its own, with the first `size` bytes of the blob it stood for. */
  async #copyBlob(size: number): Promise<BlobWriter> {
    const { store, backendRef } = this.#parts;
    const reader = await store.reader(this.#requireBlob().digest);
    try {
      const writer = await store.writer({ ref: backendRef });
      this.#inner = writer;
      this.#blob = undefined;
      await writer.truncate(0);
      await copy(reader, writer, size);
      return writer;
    } finally {
      await reader.close();
    }
  }

  async #commitBytes(expectation: { readonly size: number; readonly expected: string }): Promise<BlobInfo> {
    const { store, ref } = this.#parts;
    if (this.#inner) {
      const digest = expectation.expected || this.#inner.digest();
      try {
        return await this.#inner.commit(expectation);
      } catch (error) {
        if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
        return store.info(digest);
      }
    }
    const blob = this.#requireBlob();
    const { size, expected } = expectation;
    if (size !== 0 && size !== blob.size) {
      throw failedPrecondition(`cannot commit ingest "${ref}": it has ${blob.size} bytes, expected ${size}`);
    }
    if (expected !== '' && expected !== blob.digest) {
      throw failedPrecondition(`cannot commit ingest "${ref}": its digest is "${blob.digest}", expected "${expected}"`);
    }
    return blob;
  }

  async #record(blob: BlobInfo, labels: Labels): Promise<ContentInfo> {
    const { core } = this.#parts;
    const moment = core.clock.wall();
    const info = { digest: blob.digest, size: blob.size, createdAt: moment, updatedAt: moment, labels };
    const exists = await core
      .mutate((sql) => this.#write(sql, info))
      .catch((error: unknown) => {
        core.unrecordedContent.add(blob.digest);
        core.noticeGarbage();
        throw error;
      });
    this.#blob = undefined;
    if (exists) throw alreadyExists(`content "${blob.digest}" already exists`);
    return info;
  }

  /** Turns the ingest's record into the content's; true when the namespace had that. */
  #write(sql: Writer, { digest, size, createdAt, labels }: ContentInfo): boolean {
    const { core, scope, ref, backendRef } = this.#parts;
    const { namespace } = scope;
    const ingest = 'ns = ? AND ref = ? AND backend_ref = ?';
    if (sql.run(`DELETE FROM ingests WHERE ${ingest}`, namespace, ref, backendRef) === 0) {
      throw aborted(`cannot commit ingest "${ref}": it was aborted meanwhile`);
    }
    unleaseIt(sql, scope, 'ingests', ref);
    if (this.#blob) sql.run('INSERT OR IGNORE INTO orphan_ingests VALUES (?)', backendRef);
    const node = contentNode(namespace, digest);
    leaseIt(core, sql, scope, 'content', digest, node);
    core.touch(node);
    const insert = 'INSERT OR IGNORE INTO content VALUES (?, ?, ?, ?, ?, ?)';
    const row = [namespace, digest, size, JSON.stringify(labels), createdAt, createdAt] as const;
    return sql.run(insert, ...row) === 0;
  }
}
