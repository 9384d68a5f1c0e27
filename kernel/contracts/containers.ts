/** Containers: metadata only. What runs is a task (see tasks.ts). */
import { one } from '../token.js';
import type { AnyMessage, Labels, Nanos, Scope, UpdateMask } from './scope.js';

export interface Container {
  /** An identifier, see {@link Scope.namespace} for the rule. */
  readonly id: string;
  readonly labels: Labels;
  /** Name of the image it was made from; may be empty. */
  readonly image: string;
  readonly runtime: { readonly name: string; readonly options?: AnyMessage };
  /** The OCI runtime spec as JSON bytes under `types.containerd.io/opencontainers/runtime-spec/1/Spec`. */
  readonly spec: AnyMessage;
  readonly snapshotter: string;
  readonly snapshotKey: string;
  readonly createdAt: Nanos;
  readonly updatedAt: Nanos;
  readonly extensions: Readonly<Record<string, AnyMessage>>;
  /** Sandbox id; may be empty. */
  readonly sandbox: string;
}

/** What a caller supplies; INVALID_ARGUMENT without `runtime.name` or `spec`, or with a `snapshotKey` but no `snapshotter`. */
export type NewContainer = Omit<Container, 'createdAt' | 'updatedAt'>;

export interface Containers {
  get(scope: Scope, id: string): Promise<Container>;
  list(scope: Scope, filters?: readonly string[]): Promise<readonly Container[]>;
  create(scope: Scope, container: NewContainer): Promise<Container>;
  /**
   * No mask: labels, spec, extensions, image and snapshotKey are replaced, and a
   * changed `snapshotter` or `runtime.name` is INVALID_ARGUMENT. Mask paths:
   * `labels`, `labels.K`, `extensions`, `extensions.K`, `spec`, `image`,
   * `snapshotkey`; others INVALID_ARGUMENT.
   */
  update(scope: Scope, container: NewContainer, mask?: UpdateMask): Promise<Container>;
  delete(scope: Scope, id: string): Promise<void>;
}

export const Containers = one<Containers>('containers@1');
