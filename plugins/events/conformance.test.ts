import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Events } from '../../kernel/contracts/events.js';
import { eventsConformance } from '../../test/conformance/events.js';
import { remoteEvents } from '../../test/conformance/events.remote.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { Exchange } from './exchange.js';

const QUEUE = 1000;
const unavailable = async () => undefined;
const can = { dropSlowSubscribers: QUEUE, checkNames: true, explainFilters: true, leaveQuietly: true };
const config = { events: { queue: QUEUE } };

eventsConformance(
  { describe, it },
  { name: 'events', unavailable, can, open: async () => ({ bus: new Exchange(QUEUE), close: async () => {} }) },
);

eventsConformance(
  { describe, it },
  {
    name: 'events through a kernel',
    unavailable,
    can,
    async open() {
      const kernel = await startTestKernel({ plugins: ['events'], config });
      return { bus: kernel.get(Events), close: async () => kernel[Symbol.asyncDispose]() };
    },
  },
);

eventsConformance(
  { describe, it },
  {
    name: 'events over gRPC',
    unavailable,
    can,
    async open() {
      const directory = await scratch('events');
      const address = join(directory.path, 's');
      const plugins = ['events', 'events-service', 'server-grpc'];
      const settings = { ...config, 'server-grpc': { address } };
      const kernel = await startTestKernel({ plugins, config: settings, directory: directory.path });
      const { bus, close } = await remoteEvents({ address, announcesSubscriptions: true });
      return {
        bus,
        async close() {
          await close();
          await kernel.stop();
          await directory[Symbol.asyncDispose]();
        },
      };
    },
  },
);
