/** What the checks of the content kit work with: a subject that is open, and short ways to fill and read it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { BlobInfo, ContentStore, IngestStatus } from '../../kernel/contracts/content.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import type { Subject } from './runner.js';

export interface OpenStore {
  readonly store: ContentStore;
  close(): Promise<void>;
}

export interface ContentSubject extends Subject {
  /** A store in that directory; called again on the same directory it is the same store, restarted. */
  open(root: string): Promise<OpenStore>;
  readonly can: {
    /** An ingest goes on after the store was closed and opened again. */
    readonly resumeAfterRestart: boolean;
    /** Digests of sha384 and sha512, besides sha256. */
    readonly longDigests: boolean;
    /** An ingest knows the digest that was promised when it was opened: its status tells it, its writer computes that kind. */
    readonly keepExpectation: boolean;
    /** A digest that is promised is checked for its form at once; false: it is found to be another one, on commit. */
    readonly checkPromises: boolean;
    /** An ingest whose content is here by now is dropped when it is to be resumed; false: it stays until it is aborted. */
    readonly dropKnown: boolean;
    /** An ingest opened with another total starts over. */
    readonly restartOnNewTotal: boolean;
    /** Goes back to any earlier offset; false: only to the beginning. */
    readonly truncateAnywhere: boolean;
    /** A reader that is open reads on when its blob is deleted. */
    readonly readDeleted: boolean;
    /** An ingest that a writer holds is not aborted: UNAVAILABLE. False: it is, and the writer cannot commit. */
    readonly protectLocked: boolean;
  };
}

export const bytes = (text: string): Uint8Array => Buffer.from(text);

export const digest = (content: Uint8Array, algorithm = 'sha256'): string =>
  `${algorithm}:${createHash(algorithm).update(content).digest('hex')}`;

export const rejects = (code: ErrorCode, work: Promise<unknown>): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    return true;
  });

export async function write(store: ContentStore, ref: string, content: Uint8Array): Promise<BlobInfo> {
  const writer = await store.writer({ ref });
  try {
    await writer.write(content);
    return await writer.commit({ size: content.byteLength, expected: digest(content) });
  } finally {
    await writer.close();
  }
}

export async function read(store: ContentStore, name: string, offset = 0, length?: number): Promise<Buffer> {
  const reader = await store.reader(name);
  try {
    const target = Buffer.alloc(length ?? reader.size);
    return target.subarray(0, await reader.read(target, offset));
  } finally {
    await reader.close();
  }
}

export async function walked(store: ContentStore): Promise<string[]> {
  const names: string[] = [];
  for await (const { digest: name } of store.walk()) names.push(name);
  return names.sort();
}

export const refs = (statuses: readonly IngestStatus[]): string[] => statuses.map(({ ref }) => ref).sort();

export const HELLO = bytes('hello, content');
