import { z } from 'zod';
import { Content } from '../../kernel/contracts/content.js';
import { Diff, Differs } from '../../kernel/contracts/diff.js';
import { SnapshotDoubts, Snapshotters } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { OrderedDiff } from './ordered.js';
import { processorTable } from './processor-table.js';
import { rebuildDoubtful } from './rebuild.js';
import { StreamProcessors } from './stream-processors.js';

/** Milliseconds after the last layer that a client applied. */
const AHEAD_PATIENCE = 60_000;

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
    layers_ahead: z
      .int()
      .min(0)
      .max(64)
      .default(4)
      .describe('Layers that are unpacked while a client still applies those below them; 0 for none.'),
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
  requires: { content: Content, differs: Differs, doubts: SnapshotDoubts, snapshotters: Snapshotters },
  provides: { diff: Diff },
  async start({ config, deps: { content, differs, doubts, snapshotters }, log, onStop }) {
    const sync = config.sync === 'full' || config.sync_fs;
    const processors = new StreamProcessors(config.stream_processors, config.stream_processor_timeout);
    const staging = (): string[] => [...snapshotters.values()].flatMap(({ staging }) => staging ?? []);
    const ahead = { staging, most: config.layers_ahead, patience: AHEAD_PATIENCE, log };
    const diff = new OrderedDiff({ content, differs, order: config.default, sync, processors, ahead });
    onStop(() => diff.close());
    const stopping = new AbortController();
    const rebuilding = rebuildDoubtful({ content, diff, doubts, log, signal: stopping.signal });
    onStop(() => {
      stopping.abort();
      return rebuilding;
    });
    return { diff };
  },
});
