import { z } from 'zod';
import { Content } from '../../kernel/contracts/content.js';
import { Diff, Differs } from '../../kernel/contracts/diff.js';
import { SnapshotDoubts } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { OrderedDiff } from './ordered.js';
import { processorTable } from './processor-table.js';
import { rebuildDoubtful } from './rebuild.js';
import { StreamProcessors } from './stream-processors.js';

const config = z
  .object({
    default: z
      .array(z.string())
      .default(['walking'])
      .describe('Differs to ask, in order, by their id on the wire; the first that can do it does it.'),
    sync: z
      .enum(['background', 'full'])
      .default('background')
      .describe(
        'When unpacked files reach the disk: soon after the layer counts as unpacked, which is unpacked again from its blob should power fail before; or before it counts as unpacked.',
      ),
    sync_fs: z.boolean().default(false).describe('containerd\'s name for `sync = "full"`.'),
    stream_processors: processorTable.describe(
      'Programs that turn layers of other media types into ones that the differs know, by id.',
    ),
    stream_processor_timeout: z
      .int()
      .min(1)
      .max(3_600_000)
      .default(60_000)
      .describe('Milliseconds that a stream processor may be waited for without a byte coming or going.'),
  })
  .strict();

/** The one service in front of the differs. */
export const plugin = definePlugin({
  id: 'differs',
  api: 1,
  wire: { type: 'io.containerd.service.v1', id: 'diff-service' },
  config,
  requires: { content: Content, differs: Differs, doubts: SnapshotDoubts },
  provides: { diff: Diff },
  async start({ config, deps: { content, differs, doubts }, log, onStop }) {
    const sync = config.sync === 'full' || config.sync_fs;
    const processors = new StreamProcessors(config.stream_processors, config.stream_processor_timeout);
    const diff = new OrderedDiff({ content, differs, order: config.default, sync, processors });
    const stopping = new AbortController();
    const rebuilding = rebuildDoubtful({ content, diff, doubts, log, signal: stopping.signal });
    onStop(() => {
      stopping.abort();
      return rebuilding;
    });
    return { diff };
  },
});
