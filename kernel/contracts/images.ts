/**
 * Images: names for content. An image is a name, a target descriptor and
 * labels; nothing but the collector looks behind the target.
 */
import { one } from '../token.js';
import type { Descriptor, Labels, Nanos, Scope, UpdateMask } from './scope.js';

export interface Image {
  /** Not empty; by convention a full reference, `docker.io/library/redis:alpine`. */
  readonly name: string;
  readonly labels: Labels;
  /** Digest valid, size above 0, media type set: INVALID_ARGUMENT otherwise. */
  readonly target: Descriptor;
  readonly createdAt: Nanos;
  readonly updatedAt: Nanos;
}

export type NewImage = Pick<Image, 'name' | 'target'> & Partial<Pick<Image, 'labels' | 'createdAt' | 'updatedAt'>>;

export interface DeleteImage {
  /** Resolve only after a whole collection. */
  readonly sync?: boolean;
  /** NOT_FOUND unless the image points here. */
  readonly target?: Descriptor;
}

export interface Images {
  /** NOT_FOUND. */
  get(scope: Scope, name: string): Promise<Image>;
  list(scope: Scope, filters?: readonly string[]): Promise<readonly Image[]>;
  /** ALREADY_EXISTS. */
  create(scope: Scope, image: NewImage): Promise<Image>;
  /** Masks: `labels`, `labels.K`, `target`, `annotations`, `annotations.K`. None: all but `createdAt` replaced. */
  update(scope: Scope, image: NewImage, mask?: UpdateMask): Promise<Image>;
  /** NOT_FOUND. */
  delete(scope: Scope, name: string, options?: DeleteImage): Promise<void>;
}

export const Images = one<Images>('images@1');
