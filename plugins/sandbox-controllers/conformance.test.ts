/** A sandbox controller passes its kit bare, through a kernel, and as one of another process. */
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { SandboxControllers } from '../../kernel/contracts/sandbox-controllers.js';
import { internal } from '../../kernel/errors.js';
import { sandboxControllerConformance } from '../../test/conformance/sandbox-controller.js';
import { providing, startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { MemorySandboxController } from '../../test/harness/memory-sandboxes.js';
import { scratch } from '../../test/harness/scratch.js';
import { proxyPlugin } from '../proxy/index.js';

const base = { unavailable: async () => undefined, can: { update: true, measure: true } };
const inMemory = () => providing(SandboxControllers, new MemorySandboxController(), 'memory');

function controllerOf(kernel: TestKernel) {
  const controller = kernel.get(SandboxControllers).get('memory');
  if (controller === undefined) throw internal('the kernel has no such controller');
  return controller;
}

sandboxControllerConformance(
  { describe, it },
  {
    ...base,
    name: 'in memory',
    open: async () => ({ controller: new MemorySandboxController(), close: async () => {} }),
  },
);

sandboxControllerConformance(
  { describe, it },
  {
    ...base,
    name: 'through a kernel',
    async open() {
      const kernel = await startTestKernel({ plugins: [inMemory()] });
      return { controller: controllerOf(kernel), close: async () => kernel[Symbol.asyncDispose]() };
    },
  },
);

sandboxControllerConformance(
  { describe, it },
  {
    ...base,
    name: 'in another process, over gRPC',
    async open() {
      const directory = await scratch('pods');
      const address = join(directory.path, 's');
      const lender = await startTestKernel({
        plugins: ['events', 'sandbox-controllers-service', 'server-grpc', inMemory()],
        config: { 'server-grpc': { address } },
      });
      const kernel = await startTestKernel({
        plugins: [proxyPlugin('memory', 'io.containerd.sandbox.controller.v1')],
        config: { memory: { type: 'sandbox', address } },
      });
      return {
        controller: controllerOf(kernel),
        async close() {
          await kernel[Symbol.asyncDispose]();
          await lender[Symbol.asyncDispose]();
          await directory[Symbol.asyncDispose]();
        },
      };
    },
  },
);
