import { z } from 'zod';
import { ImageVerifiers } from '../../kernel/contracts/image-verifiers.js';
import { definePlugin } from '../../kernel/plugin.js';
import { BindirVerifier } from './bindir-verifier.js';

/** Asks every program of a directory whether an image may be pulled, by containerd's protocol. */
export const plugin = definePlugin({
  id: 'verifier-bindir',
  api: 1,
  wire: { type: 'io.containerd.image-verifier.v1', id: 'bindir' },
  config: z
    .object({
      bin_dir: z
        .string()
        .startsWith('/')
        .default('/opt/containerd/image-verifier/bin')
        .describe('directory of the programs; one that does not exist or is empty allows everything'),
      max_verifiers: z
        .int()
        .min(-1)
        .default(10)
        .describe('with more programs than these, nothing may be pulled; -1: no limit'),
      per_verifier_timeout: z
        .int()
        .min(100)
        .max(600_000)
        .default(10_000)
        .describe('milliseconds until a program is killed, and the pull blocked'),
    })
    .strict(),
  requires: {},
  provides: { verifier: ImageVerifiers },
  start: async ({ config, log }) => ({ verifier: new BindirVerifier(config, log) }),
});
