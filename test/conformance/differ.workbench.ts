/** What the checks of the differ kit work with: layers made here, directories to unpack them into. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AppliedLayer, ApplyLayer, Differ, LayerSink } from '../../kernel/contracts/diff.js';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { scratch } from '../harness/scratch.js';
import type { Subject } from './runner.js';

export interface OpenDiffer {
  readonly differ: Differ;
  /** The bytes of a layer that `compare` made. */
  read(layer: Descriptor): Promise<Buffer>;
  close(): Promise<void>;
}

export interface DifferSubject extends Subject {
  open(): Promise<OpenDiffer>;
  /** The media types it unpacks, each with what makes such a layer of a tar archive. At least one. */
  readonly encodings: Readonly<Record<string, (archive: Buffer) => Uint8Array>>;
  /** What it can. Checked either way: what it cannot do must be refused. */
  readonly can: {
    /** Makes layers of the difference of two trees. */
    readonly compare: boolean;
    /** Unpacks a layer apart from its parents, to be rebased. */
    readonly detach: boolean;
    /** Refusals have their codes: UNIMPLEMENTED for a media type, INVALID_ARGUMENT for a broken archive. False: any code. */
    readonly explainRefusals: boolean;
    /** With a fixed time the same trees make the same layer, byte for byte; false: what is deleted bears the time of the call. */
    readonly reproduce: boolean;
    /** A fixed time clamps every time in a layer that is made; false: only those that come from nowhere else. */
    readonly clampTimes: boolean;
  };
}

export const bind = (source: string): Mount => ({ type: 'bind', source, target: '', options: ['rw', 'rbind'] });

export const rejects = (code: ErrorCode, work: Promise<unknown>, message = /./): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    assert.match(String(error), message);
    return true;
  });

/** Writes the layer in pieces of that many bytes, the same buffer each time, and ends it. */
export async function feed(sink: LayerSink, layer: Uint8Array, step: number): Promise<AppliedLayer> {
  const piece = Buffer.alloc(Math.min(step, layer.length));
  for (let at = 0; at < layer.length; at += step) {
    const part = layer.subarray(at, at + step);
    piece.set(part);
    await sink.write(piece.subarray(0, part.length));
  }
  return sink.end();
}

export class DifferBench implements AsyncDisposable {
  readonly #subject: DifferSubject;
  readonly #directory: AsyncDisposable & { readonly path: string };
  readonly #open: OpenDiffer;
  #made = 0;

  private constructor(subject: DifferSubject, directory: DifferBench['directory'], open: OpenDiffer) {
    this.#subject = subject;
    this.#directory = directory;
    this.#open = open;
  }

  static async open(subject: DifferSubject): Promise<DifferBench> {
    const directory = await scratch('differ');
    try {
      return new DifferBench(subject, directory, await subject.open());
    } catch (error) {
      await directory[Symbol.asyncDispose]();
      throw error;
    }
  }

  get directory(): AsyncDisposable & { readonly path: string } {
    return this.#directory;
  }

  get differ(): Differ {
    return this.#open.differ;
  }

  /** The first media type of the subject. */
  get mediaType(): string {
    return Object.keys(this.#subject.encodings)[0] ?? '';
  }

  encode(archive: Buffer, mediaType = this.mediaType): Uint8Array {
    return this.#subject.encodings[mediaType]?.(archive) ?? archive;
  }

  /** A new empty directory. */
  tree(): string {
    const path = join(this.#directory.path, `tree-${this.#made++}`);
    mkdirSync(path, { mode: 0o755 });
    return path;
  }

  /** Unpacks an archive into the directory. */
  async apply(archive: Buffer, root: string, more: Partial<ApplyLayer> = {}, step = 64 * 1024): Promise<AppliedLayer> {
    const mediaType = more.mediaType ?? this.mediaType;
    const sink = await this.differ.open({ mediaType, mounts: [bind(root)], ...more });
    try {
      return await feed(sink, this.encode(archive, mediaType), step);
    } finally {
      await sink.abort();
    }
  }

  read(layer: Descriptor): Promise<Buffer> {
    return this.#open.read(layer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#open.close();
    } finally {
      await this.#directory[Symbol.asyncDispose]();
    }
  }
}
