import { brotliCompressSync, constants } from 'node:zlib';
import { Differs } from 'keelson/contracts/diff';
import { definePlugin } from 'keelson/plugin';
import { z } from 'zod';
import { BrotliDiffer, MEDIA_TYPE } from './differ.js';

/** Layers compressed by Brotli; once decompressed, another differ unpacks them. */
export const plugin = definePlugin({
  id: 'differ-brotli',
  api: 1,
  wire: { type: 'io.containerd.differ.v1', id: 'brotli' },
  config: z
    .object({ unpacker: z.string().default('walking').describe('The differ that unpacks plain archives.') })
    .strict(),
  requires: { differs: Differs },
  provides: { differ: Differs },
  start: async ({ config, deps }) => ({ differ: new BrotliDiffer(() => deps.differs.get(config.unpacker)) }),
});

/** What the kit asks: see `DifferSubject` of keelson/conformance/differ. */
export const can = { compare: false, detach: true, explainRefusals: true, reproduce: false, clampTimes: false };

/** How the kit makes layers for it. */
export const encodings = {
  [MEDIA_TYPE]: (archive: Buffer): Uint8Array =>
    brotliCompressSync(archive, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
};
