/** How clients ask that blobs of layers are not kept once these are unpacked. */
import { labelOf } from './labels.js';

/** On an image, or on a namespace for all its images. */
export const DISCARD_UNPACKED = 'keelson/discard-unpacked-layers';

export const asksToDiscard = (labels: Readonly<Record<string, string>>): boolean =>
  labelOf(labels, DISCARD_UNPACKED) === 'true';
