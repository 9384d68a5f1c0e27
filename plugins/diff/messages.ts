/** What the main thread and the worker threads tell each other. */
import type { ErrorCode } from '../../kernel/errors.js';
import type { LayerJob, LayerResult } from './unpack/layer.js';

/** A number for each layer under way, unique in the process. */
export type LayerId = number;

export type ToWorker =
  | { readonly kind: 'open'; readonly layer: LayerId; readonly job: LayerJob; readonly memory: SharedArrayBuffer }
  /** The next compressed bytes are in the layer's memory. */
  | { readonly kind: 'chunk'; readonly layer: LayerId; readonly offset: number; readonly length: number }
  | { readonly kind: 'end'; readonly layer: LayerId }
  /** Answers `needs lowers`; none when they are not to be had. */
  | { readonly kind: 'lowers'; readonly layer: LayerId; readonly lowers: readonly string[] | undefined }
  | { readonly kind: 'abort'; readonly layer: LayerId };

export type FromWorker =
  | { readonly kind: 'opened'; readonly layer: LayerId }
  /** The bytes at that offset have been used and may be overwritten. */
  | { readonly kind: 'taken'; readonly layer: LayerId; readonly offset: number }
  /** Everything is there, but the layer must know those below. */
  | { readonly kind: 'needs lowers'; readonly layer: LayerId }
  | { readonly kind: 'done'; readonly layer: LayerId; readonly result: LayerResult }
  /** Nothing of the layer is open any more; more of its chunks may still be told as taken. */
  | { readonly kind: 'failed'; readonly layer: LayerId; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'aborted'; readonly layer: LayerId }
  | { readonly kind: 'warning'; readonly layer: LayerId; readonly message: string };
