/**
 * A differ in another process: `containerd.services.diff.v1.Diff` over its
 * socket. The process reads layers from this daemon's content, so what arrives
 * is put there first; what is there already is not written again.
 */
import { randomUUID } from 'node:crypto';
import { DiffDefinition } from '../../api/gen/services/diff.js';
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { AppliedLayer, ApplyLayer, CompareTrees, Differ, LayerSink } from '../../kernel/contracts/diff.js';
import type { Leases } from '../../kernel/contracts/leases.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { hasCode, unimplemented } from '../../kernel/errors.js';
import { parseDigest } from '../../lib/digest.js';
import { fromDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import type { Remote } from './remote.js';

export interface DifferParts {
  readonly content: Content;
  readonly leases: Leases;
  /** In which layers are shown to the process. */
  readonly namespace: string;
}

/** A layer on its way to the process: collected in content, held by a lease of its own until it is applied. */
class Parcel implements LayerSink {
  readonly #parts: DifferParts;
  readonly #scope: Scope & { readonly lease: string };
  readonly #layer: ApplyLayer;
  readonly #apply: (blob: Descriptor) => Promise<AppliedLayer>;
  /** Undefined when the blob is there already. */
  readonly #writer: ContentWriter | undefined;
  readonly #isThere: boolean;
  #size = 0;
  #over = false;

  private constructor(
    parts: DifferParts,
    scope: Scope & { readonly lease: string },
    layer: ApplyLayer,
    apply: (blob: Descriptor) => Promise<AppliedLayer>,
    writer: ContentWriter | undefined,
  ) {
    this.#parts = parts;
    this.#scope = scope;
    this.#layer = layer;
    this.#apply = apply;
    this.#writer = writer;
    this.#isThere = writer === undefined || writer.status().offset > 0;
  }

  static async open(
    parts: DifferParts,
    layer: ApplyLayer,
    apply: (blob: Descriptor) => Promise<AppliedLayer>,
  ): Promise<Parcel> {
    const { namespace, leases, content } = parts;
    const expires = new Date(Date.now() + 24 * 3600 * 1000).toISOString();
    const lease = await leases.create({ namespace }, { labels: { 'containerd.io/gc.expire': expires } });
    const scope = { namespace, lease: lease.id };
    try {
      const expected = layer.digest === undefined ? {} : { expected: layer.digest };
      const writer = await content.writer(scope, { ref: `proxy-${randomUUID()}`, ...expected });
      return new Parcel(parts, scope, layer, apply, writer);
    } catch (error) {
      if (hasCode(error, 'ALREADY_EXISTS')) return new Parcel(parts, scope, layer, apply, undefined);
      await leases.delete({ namespace }, lease.id);
      throw error;
    }
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    if (!this.#isThere) await this.#writer?.write(chunk);
  }

  async end(): Promise<AppliedLayer> {
    const { digest: expected, mediaType } = this.#layer;
    const committed = await this.#commit(expected);
    const digest = committed ?? expected ?? '';
    const applied = await this.#apply({ mediaType, digest, size: this.#size });
    await this.abort();
    return applied;
  }

  async abort(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#writer?.close();
    await this.#parts.leases.delete({ namespace: this.#scope.namespace }, this.#scope.lease);
  }

  async #commit(expected: string | undefined): Promise<string | undefined> {
    try {
      return (await this.#writer?.commit(expected === undefined ? {} : { expected }))?.digest;
    } catch (error) {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      return expected ?? this.#writer?.digest();
    }
  }
}

export class ProxyDiffer implements Differ {
  readonly #remote: Remote;
  readonly #stub;
  readonly #parts: DifferParts;

  constructor(remote: Remote, parts: DifferParts) {
    this.#remote = remote;
    this.#stub = remote.stub(DiffDefinition);
    this.#parts = parts;
  }

  async open(layer: ApplyLayer): Promise<LayerSink> {
    if (layer.detached) throw unimplemented('a differ in another process does not unpack layers without their parents');
    return Parcel.open(this.#parts, layer, (blob) => this.#apply(blob, layer));
  }

  async compare(scope: Scope, trees: CompareTrees): Promise<Descriptor> {
    const { lower, upper, mediaType = '', ref = '', labels = {}, sourceDateEpoch } = trees;
    const request = {
      left: lower.map(toMountMessage),
      right: upper.map(toMountMessage),
      mediaType,
      ref,
      labels: { ...labels },
      ...(sourceDateEpoch !== undefined && { sourceDateEpoch: toTimestamp(sourceDateEpoch) }),
    };
    const { namespace, lease, signal } = scope;
    const on = { namespace, ...(lease && { lease }), ...(signal && { signal }) };
    const { diff } = await this.#remote.call('comparison', (options) => this.#stub.diff(request, options), on);
    return fromDescriptorMessage(diff, 'the descriptor of the difference');
  }

  async #apply(blob: Descriptor, { mounts, payloads = {}, sync = false, signal }: ApplyLayer): Promise<AppliedLayer> {
    const { mediaType, digest, size } = blob;
    const request = {
      diff: { mediaType, digest, size: BigInt(size), annotations: {} },
      mounts: mounts.map(toMountMessage),
      payloads: { ...payloads },
      syncFs: sync,
    };
    const what = `unpacking of "${digest}"`;
    const on = signal === undefined ? {} : { signal };
    const { applied } = await this.#remote.call(what, (options) => this.#stub.apply(request, options), on);
    const result = fromDescriptorMessage(applied, 'the descriptor of the unpacked layer');
    parseDigest(result.digest);
    return { diffId: result.digest, size: result.size, unresolved: false };
  }
}
