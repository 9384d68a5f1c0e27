import { type ControllerCreateRequest, ControllerDefinition } from '../../api/gen/services/sandbox.js';
import { Events } from '../../kernel/contracts/events.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { type CreateSandbox, SandboxControllers } from '../../kernel/contracts/sandbox-controllers.js';
import type { NewSandbox } from '../../kernel/contracts/sandboxes.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { fromSandboxMessage, toAny } from '../../lib/rpc/sandbox.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { Sandboxers } from './sandboxers.js';

/** What clients that send no record of it ask for. */
const bare = (id: string, sandboxer: string): NewSandbox => ({
  id,
  labels: {},
  runtime: { name: '' },
  extensions: {},
  sandboxer,
});

function toCreate(request: ControllerCreateRequest): CreateSandbox {
  const { sandboxId, sandbox, sandboxer, rootfs, options, netnsPath, annotations } = request;
  const asked = sandbox === undefined ? bare(sandboxId, sandboxer) : fromSandboxMessage(sandbox);
  if (asked.id === '') throw invalidArgument('sandbox id must not be empty');
  if (sandboxId !== '' && sandboxId !== asked.id)
    throw invalidArgument(`a sandbox cannot be called "${sandboxId}" and "${asked.id}" at once`);
  return { sandbox: asked, rootfs, ...(options && { options }), networkNamespace: netnsPath, annotations };
}

/** containerd.services.sandbox.v1.Controller over the contract `SandboxControllers`. */
export const plugin = definePlugin({
  id: 'sandbox-controllers-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'sandbox-controllers' },
  config: noSettings,
  requires: { controllers: SandboxControllers, events: Events },
  provides: { service: GrpcServices },
  async start({ deps: { controllers, events } }) {
    const sandboxers = new Sandboxers(controllers, events);
    const service = implement(ControllerDefinition, {
      async create(request, call) {
        const asked = toCreate(request);
        await sandboxers.create(request.sandboxer, call.scope(), asked);
        return { sandboxId: asked.sandbox.id };
      },
      async start({ sandboxId, sandboxer }, call) {
        const { createdAt, labels, spec, ...rest } = await sandboxers.start(sandboxer, call.scope(), sandboxId);
        return {
          sandboxId,
          createdAt: toTimestamp(createdAt),
          labels: { ...labels },
          spec: spec && toAny(spec),
          ...rest,
        };
      },
      async platform({ sandboxId, sandboxer }, call) {
        const {
          os,
          architecture,
          variant = '',
          osVersion = '',
        } = await sandboxers.named(sandboxer).platform(call.scope(), sandboxId);
        return { platform: { os, architecture, variant, osVersion, osFeatures: [] } };
      },
      async stop({ sandboxId, sandboxer, timeoutSecs }, call) {
        await sandboxers.named(sandboxer).stop(call.scope(), sandboxId, timeoutSecs);
        return {};
      },
      async wait({ sandboxId, sandboxer }, call) {
        const { exitStatus, exitedAt } = await sandboxers.wait(sandboxer, call.scope(), sandboxId);
        return { exitStatus, exitedAt: toTimestamp(exitedAt) };
      },
      async status({ sandboxId, sandboxer, verbose }, call) {
        const { info, createdAt, exitedAt, extra, ...rest } = await sandboxers
          .named(sandboxer)
          .status(call.scope(), sandboxId, verbose);
        const times = { createdAt: toTimestamp(createdAt), exitedAt: toTimestamp(exitedAt) };
        return { sandboxId, info: { ...info }, ...times, extra: extra && toAny(extra), ...rest };
      },
      async shutdown({ sandboxId, sandboxer }, call) {
        await sandboxers.named(sandboxer).shutdown(call.scope(), sandboxId);
        return {};
      },
      async metrics({ sandboxId, sandboxer }, call) {
        const { id, timestamp, data } = await sandboxers.named(sandboxer).metrics(call.scope(), sandboxId);
        return { metrics: { id, timestamp: toTimestamp(timestamp), data: data && toAny(data) } };
      },
      async update({ sandboxId, sandboxer, sandbox, fields }, call) {
        const changed = fromSandboxMessage(sandbox);
        await sandboxers.named(sandboxer).update(call.scope(), { ...changed, id: sandboxId || changed.id }, fields);
        return {};
      },
    });
    return { service };
  },
});
