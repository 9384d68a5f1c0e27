import { describe, it } from 'node:test';
import { runtimeConformance } from 'keelson/conformance/runtime';
import { Events } from 'keelson/contracts/events';
import { Runtimes } from 'keelson/contracts/runtime';
import { providing, scratch, startTestKernel } from 'keelson/testing';
import { can, plugin, runtimeName } from './index.js';

runtimeConformance(
  { describe, it },
  {
    name: 'runtime-oci',
    runtimeName,
    unavailable: async () => (process.getuid?.() === 0 ? undefined : 'needs root: it runs containers'),
    can,
    // short: the path of a socket below it has 107 bytes at most
    directory: () => scratch('rt'),
    async open(directory, events) {
      const plugins = [plugin, providing(Events, events)];
      const kernel = await startTestKernel({ plugins, config: { [plugin.id]: { idle: 1 } }, directory });
      const runtime = kernel.get(Runtimes).get(plugin.wire.id);
      if (!runtime) throw new Error('the plugin provides no runtime');
      return { runtime, close: () => kernel.stop() };
    },
  },
);
