import { z } from 'zod';
import { Content } from '../../kernel/contracts/content.js';
import { Diff, Differs } from '../../kernel/contracts/diff.js';
import { definePlugin } from '../../kernel/plugin.js';
import { OrderedDiff } from './ordered.js';

const config = z
  .object({
    default: z
      .array(z.string())
      .default(['walking'])
      .describe('Differs to ask, in order, by their id on the wire; the first that can do it does it.'),
    sync_fs: z.boolean().default(false).describe('Flush every unpacked layer to disk before it counts as unpacked.'),
  })
  .strict();

/** The one service in front of the differs. */
export const plugin = definePlugin({
  id: 'differs',
  api: 1,
  wire: { type: 'io.containerd.service.v1', id: 'diff-service' },
  config,
  requires: { content: Content, differs: Differs },
  provides: { diff: Diff },
  start: async ({ config, deps }) => ({
    diff: new OrderedDiff({ ...deps, order: config.default, sync: config.sync_fs }),
  }),
});
