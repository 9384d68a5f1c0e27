import { describe, it } from 'node:test';
import { differConformance } from 'keelson/conformance/differ';
import { Content } from 'keelson/contracts/content';
import { Differs } from 'keelson/contracts/diff';
import { MemoryContent, MemoryLeases, providing, startTestKernel } from 'keelson/testing';
import { can, encodings, plugin } from './index.js';

differConformance(
  { describe, it },
  {
    name: 'differ-brotli',
    unavailable: async () => (process.getuid?.() === 0 ? undefined : 'needs root: it makes devices and owners'),
    can,
    encodings,
    async open() {
      const content = new MemoryContent(new MemoryLeases());
      const kernel = await startTestKernel({ plugins: [providing(Content, content), 'diff', plugin] });
      const differ = kernel.get(Differs).get(plugin.wire.id);
      if (!differ) throw new Error('the plugin provides no differ');
      return {
        differ,
        read: () => Promise.reject(new Error('makes no layers')),
        close: async () => kernel[Symbol.asyncDispose](),
      };
    },
  },
);
