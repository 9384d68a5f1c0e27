import { z } from 'zod';
import { Events } from '../../kernel/contracts/events.js';
import { definePlugin } from '../../kernel/plugin.js';
import { Exchange } from './exchange.js';

/** Hands events from those who publish to those who subscribe. */
export const plugin = definePlugin({
  id: 'events',
  api: 1,
  wire: { type: 'io.containerd.event.v1', id: 'exchange' },
  config: z
    .object({
      queue: z.int().min(1).default(8192).describe('events that wait for a slow subscriber before it is dropped'),
    })
    .strict(),
  requires: {},
  provides: { events: Events },
  start: async ({ config }) => ({ events: new Exchange(config.queue) }),
});
