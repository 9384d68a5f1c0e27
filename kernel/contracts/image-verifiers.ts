/**
 * Image verifiers decide whether an image may be pulled, after its reference
 * has been resolved and before anything of it is fetched. Every verifier must
 * agree. One that cannot decide blocks the pull as well: it throws. What comes
 * in by other ways, an import or a client's own writes, is not asked about.
 */
import { many } from '../token.js';
import type { Descriptor } from './scope.js';

export interface Judgement {
  readonly accepted: boolean;
  /** For people; what a verifier says is bounded and shown without control characters. */
  readonly reason: string;
}

export interface ImageToVerify {
  /** The full reference that is pulled. */
  readonly name: string;
  /** What it names now; exactly this digest is fetched. */
  readonly target: Descriptor;
  readonly signal: AbortSignal;
}

export interface ImageVerifier {
  /** Throws when it cannot decide. */
  verify(image: ImageToVerify): Promise<Judgement>;
}

export const ImageVerifiers = many<ImageVerifier>('image-verifier@1');
