/** A runtime by composition: the plugin of the tree with names and settings of one's own. */
import { builtins } from 'keelson/builtins';
import { definePlugin } from 'keelson/plugin';
import { z } from 'zod';

const { plugin: base } = await builtins['runtime-runc']();

/** Containers by an OCI runtime of your choice: `ctr run --runtime io.containerd.oci.v1`. */
export const plugin = definePlugin({
  id: 'runtime-oci',
  api: 1,
  wire: { type: 'io.containerd.runtime.v2', id: 'oci' },
  config: z
    .object({
      binary: z.string().min(1).default('runc').describe('The OCI runtime: a name to look up in PATH, or a path.'),
      idle: z.number().positive().default(60).describe('Seconds that a supervisor without tasks is kept.'),
    })
    .strict(),
  requires: base.requires,
  provides: base.provides,
  start: (context) =>
    base.start({ ...context, config: base.config.parse({ ...context.config, names: ['io.containerd.oci.v1'] }) }),
});

/** What the kit asks: see `RuntimeSubject` of keelson/conformance/runtime. */
export const can = {
  outliveReader: true,
  keepUnreadOutput: true,
  replayExits: true,
  startWithoutReader: true,
  resizeBeforeStart: true,
  checkpoint: true,
  reattachTerminal: true,
};

/** The runtime name that containers ask for. */
export const runtimeName = 'io.containerd.oci.v1';
