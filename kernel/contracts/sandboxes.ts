/**
 * Sandboxes: records of the surroundings that several containers share, such
 * as a pod's. Metadata only; what makes and ends one is its controller (see
 * sandbox-controllers.ts). What the labels of a record refer to is kept from
 * the garbage collector.
 */
import { one } from '../token.js';
import type { AnyMessage, Labels, Nanos, Scope, UpdateMask } from './scope.js';

export interface Sandbox {
  /** An identifier, see {@link Scope.namespace} for the rule. */
  readonly id: string;
  readonly labels: Labels;
  readonly runtime: { readonly name: string; readonly options?: AnyMessage };
  readonly spec?: AnyMessage;
  readonly extensions: Readonly<Record<string, AnyMessage>>;
  /** Name of its controller; may be empty. */
  readonly sandboxer: string;
  readonly createdAt: Nanos;
  readonly updatedAt: Nanos;
}

/** What a caller supplies; INVALID_ARGUMENT for an `id` that is no identifier. */
export type NewSandbox = Omit<Sandbox, 'createdAt' | 'updatedAt'>;

export interface Sandboxes {
  /** NOT_FOUND. */
  get(scope: Scope, id: string): Promise<Sandbox>;
  /** Filters on `id`, `runtime.name`, `sandboxer` and `labels.K`; in order of their ids. */
  list(scope: Scope, filters?: readonly string[]): Promise<readonly Sandbox[]>;
  /** ALREADY_EXISTS. */
  create(scope: Scope, sandbox: NewSandbox): Promise<Sandbox>;
  /**
   * No mask: labels, extensions, spec and runtime are replaced, and a changed
   * `runtime.name` is INVALID_ARGUMENT. Mask paths: `labels`, `labels.K`,
   * `extensions`, `extensions.K`, `spec`, `runtime`; others INVALID_ARGUMENT.
   */
  update(scope: Scope, sandbox: NewSandbox, mask?: UpdateMask): Promise<Sandbox>;
  /** NOT_FOUND. */
  delete(scope: Scope, id: string): Promise<void>;
}

export const Sandboxes = one<Sandboxes>('sandboxes@1');
