/**
 * Namespaces keep clients apart. One appears on its first write, and its
 * labels hold defaults (`containerd.io/defaults/snapshotter`).
 */
import { one } from '../token.js';
import type { Labels, UpdateMask } from './scope.js';

export interface Namespace {
  readonly name: string;
  readonly labels: Labels;
}

export interface Namespaces {
  /** An unknown namespace has no labels; that is not an error. */
  get(name: string): Promise<Namespace>;
  list(): Promise<readonly Namespace[]>;
  /** ALREADY_EXISTS. */
  create(namespace: Namespace): Promise<Namespace>;
  /** Mask paths `labels.K` only; an empty value deletes the key. No mask: all labels replaced. */
  update(namespace: Namespace, mask?: UpdateMask): Promise<Namespace>;
  /** NOT_FOUND; FAILED_PRECONDITION, listing what is left, while it holds anything. */
  delete(name: string): Promise<void>;
}

export const Namespaces = one<Namespaces>('namespaces@1');
