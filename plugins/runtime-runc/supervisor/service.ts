/** containerd.task.v3.Task and containerd.task.v2.Task, whose messages are the same, over the supervisor. */
import { CheckpointOptions, ProcessDetails } from '../../../api/gen/runtime/runc-options.js';
import { TaskDefinition } from '../../../api/gen/runtime/task-v3.js';
import { failedPrecondition, invalidArgument, notFound } from '../../../kernel/errors.js';
import { packAny, unpackAny } from '../../../lib/rpc/any.js';
import { type Call, type Handlers, implement, type ServiceImplementation } from '../../../lib/rpc/definition.js';
import { NAMESPACE_KEY } from '../../../lib/ttrpc/metadata.js';
import type { Supervisor } from './supervisor.js';

/** The messages of both versions are the same, so one set of codecs does: generated code is most of what this program holds. */
const TaskV2Definition = { ...TaskDefinition, fullName: 'containerd.task.v2.Task' };

/** What a Connect call tells of us: which version of the Task service is spoken. */
const TASK_API_VERSION = '3';

/** Long options of `runc checkpoint` by field of the options. */
const CHECKPOINT_SWITCHES = {
  openTcp: '--tcp-established',
  externalUnixSockets: '--ext-unix-sk',
  terminal: '--shell-job',
  fileLocks: '--file-locks',
} as const;

export function taskServices(supervisor: Supervisor, onShutdown: () => void): ServiceImplementation[] {
  const { namespace } = supervisor.settings;

  /** Not every daemon says for which namespace it calls; one that does must mean ours. */
  const check = (call: Call): void => {
    const asked = call.metadata(NAMESPACE_KEY) ?? namespace;
    if (asked !== namespace) throw notFound(`this supervisor serves namespace "${namespace}", not "${asked}"`);
  };

  const handlers: Handlers<typeof TaskDefinition> = {
    async state({ id, execId }, call) {
      check(call);
      const task = supervisor.task(id);
      const process = task.process(execId);
      const { pid, stdio, exit } = process.record;
      return {
        id,
        execId,
        bundle: task.bundle,
        pid,
        status: task.status(process),
        stdin: stdio?.stdin ?? '',
        stdout: stdio?.stdout ?? '',
        stderr: stdio?.stderr ?? '',
        terminal: stdio?.terminal ?? false,
        exitStatus: exit?.status ?? 0,
        exitedAt: exit?.at,
      };
    },
    async create(request, call) {
      check(call);
      return { pid: await supervisor.create(request) };
    },
    async start({ id, execId }, call) {
      check(call);
      return { pid: await supervisor.task(id).start(execId) };
    },
    async delete({ id, execId }, call) {
      check(call);
      const { pid, exit } = await supervisor.delete(id, execId);
      return { pid, exitStatus: exit.status, exitedAt: exit.at };
    },
    async pids({ id }, call) {
      check(call);
      const processes = supervisor.task(id).pids();
      return {
        processes: processes.map(({ pid, execId }) => ({
          pid,
          info: execId === undefined ? undefined : packAny(ProcessDetails, { execId }),
        })),
      };
    },
    async pause({ id }, call) {
      check(call);
      await supervisor.task(id).pause();
      return {};
    },
    async resume({ id }, call) {
      check(call);
      await supervisor.task(id).resume();
      return {};
    },
    async checkpoint({ id, path, options: any }, call) {
      check(call);
      const options = any ? unpackAny(CheckpointOptions, any) : CheckpointOptions.create();
      const switches = Object.entries(CHECKPOINT_SWITCHES).flatMap(([field, flag]) =>
        options[field as keyof typeof CHECKPOINT_SWITCHES] ? [flag] : [],
      );
      await supervisor.task(id).checkpoint({
        imagePath: path,
        workPath: options.workPath || path,
        parentPath: options.parentPath,
        leaveRunning: !options.exit,
        switches,
        cgroupsMode: options.cgroupsMode,
        emptyNamespaces: options.emptyNamespaces,
      });
      return {};
    },
    async kill({ id, execId, signal, all }, call) {
      check(call);
      await supervisor.task(id).kill(execId, signal, all);
      return {};
    },
    async exec({ id, execId, terminal, stdin, stdout, stderr, spec }, call) {
      check(call);
      if (spec === undefined) throw invalidArgument(`exec "${execId}" of task "${id}" has no spec`);
      supervisor.task(id).exec({ execId, stdio: { terminal, stdin, stdout, stderr }, spec: spec.value });
      return {};
    },
    async resizePty({ id, execId, width, height }, call) {
      check(call);
      supervisor.task(id).resize(execId, { width, height });
      return {};
    },
    async closeIO({ id, execId, stdin }, call) {
      check(call);
      if (stdin) supervisor.task(id).closeInput(execId);
      return {};
    },
    async update({ id, resources }, call) {
      check(call);
      if (resources === undefined) throw invalidArgument(`update of task "${id}" names no resources`);
      await supervisor.task(id).update(resources.value);
      return {};
    },
    async wait({ id, execId }, call) {
      check(call);
      const { status, at } = await supervisor.task(id).wait(execId);
      return { exitStatus: status, exitedAt: at };
    },
    async stats({ id }, call) {
      check(call);
      return { stats: await supervisor.task(id).stats() };
    },
    async connect({ id }, call) {
      check(call);
      const taskPid = supervisor.task(id).init.record.pid;
      return { shimPid: process.pid, taskPid, version: TASK_API_VERSION };
    },
    async shutdown({ now }, call) {
      check(call);
      if (supervisor.idle) onShutdown();
      else if (now) throw failedPrecondition(`this supervisor still has tasks of namespace "${namespace}"`);
      return {};
    },
  };

  return [implement(TaskDefinition, handlers), implement(TaskV2Definition, handlers)];
}
