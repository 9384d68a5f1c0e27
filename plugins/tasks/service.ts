import { TasksDefinition } from '../../api/gen/services/tasks.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Tasks } from '../../kernel/contracts/tasks.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement, type ServiceImplementation } from '../../lib/rpc/definition.js';
import { fromDescriptorMessage, toDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { need, toAny, toDeleted, toProcess, toProcessInfo } from './messages.js';

/** containerd.services.tasks.v1.Tasks over the contract `Tasks`. */
export const plugin = definePlugin({
  id: 'tasks-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'tasks' },
  config: noSettings,
  requires: { tasks: Tasks },
  provides: { service: GrpcServices },
  start: async ({ deps: { tasks } }) => ({ service: tasksService(tasks) }),
});

const tasksService = (tasks: Tasks): ServiceImplementation =>
  implement(TasksDefinition, {
    async create({ containerId: id, rootfs, stdin, stdout, stderr, terminal, checkpoint, options, runtimePath }, call) {
      const { pid } = await tasks.create(call.scope(), {
        id,
        rootfs,
        stdin,
        stdout,
        stderr,
        terminal,
        ...(checkpoint && { checkpoint: fromDescriptorMessage(checkpoint, 'checkpoint') }),
        ...(options && { options }),
        ...(runtimePath !== '' && { runtimePath }),
      });
      return { containerId: id, pid };
    },
    start: ({ containerId: id, execId }, call) => tasks.start(call.scope(), { id, execId }),
    async delete({ containerId: id }, call) {
      return toDeleted(id, await tasks.delete(call.scope(), { id }));
    },
    async deleteProcess({ containerId: id, execId }, call) {
      return toDeleted(execId || id, await tasks.delete(call.scope(), { id, execId }));
    },
    async get({ containerId: id, execId }, call) {
      return { process: toProcess(await tasks.get(call.scope(), { id, execId })) };
    },
    async list(_request, call) {
      return { tasks: (await tasks.list(call.scope())).map(toProcess) };
    },
    async kill({ containerId: id, execId, signal, all }, call) {
      await tasks.kill(call.scope(), { id, execId }, signal, all);
      return {};
    },
    async exec({ containerId: id, execId, spec, stdin, stdout, stderr, terminal }, call) {
      const exec = { id, execId, spec: need(spec, `spec of exec "${execId}"`), stdin, stdout, stderr, terminal };
      await tasks.exec(call.scope(), exec);
      return {};
    },
    async resizePty({ containerId: id, execId, width, height }, call) {
      await tasks.resize(call.scope(), { id, execId }, { width, height });
      return {};
    },
    async closeIO({ containerId: id, execId, stdin }, call) {
      if (stdin) await tasks.closeStdin(call.scope(), { id, execId });
      return {};
    },
    async pause({ containerId }, call) {
      await tasks.pause(call.scope(), containerId);
      return {};
    },
    async resume({ containerId }, call) {
      await tasks.resume(call.scope(), containerId);
      return {};
    },
    async listPids({ containerId }, call) {
      return { processes: (await tasks.pids(call.scope(), containerId)).map(toProcessInfo) };
    },
    async checkpoint({ containerId: id, options }, call) {
      const descriptors = await tasks.checkpoint(call.scope(), { id, ...(options && { options }) });
      return { descriptors: descriptors.map(toDescriptorMessage) };
    },
    async update({ containerId: id, resources, annotations }, call) {
      await tasks.update(call.scope(), id, need(resources, `resources of task "${id}"`), annotations);
      return {};
    },
    async metrics({ filters }, call) {
      const metrics = await tasks.metrics(call.scope(), filters);
      return {
        metrics: metrics.map(({ id, timestamp, data }) => ({
          id,
          timestamp: toTimestamp(timestamp),
          data: toAny(data),
        })),
      };
    },
    async wait({ containerId: id, execId }, call) {
      const { exitStatus, exitedAt } = await tasks.wait(call.scope(), { id, execId });
      return { exitStatus, exitedAt: toTimestamp(exitedAt) };
    },
  });
