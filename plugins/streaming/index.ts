import { Streams } from '../../kernel/contracts/streams.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { OpenStreams } from './open-streams.js';

/** Knows the streams that clients have open. */
export const plugin = definePlugin({
  id: 'streaming',
  api: 1,
  wire: { type: 'io.containerd.streaming.v1', id: 'manager' },
  config: noSettings,
  requires: {},
  provides: { streams: Streams },
  start: async () => ({ streams: new OpenStreams() }),
});
