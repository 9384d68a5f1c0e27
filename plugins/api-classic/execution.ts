/** `containerd.v1.services.ContainerService` over the contracts `Containers`, `Tasks` and `Events`. */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { ContainerServiceDefinition, type CreateRequest } from '../../api/gen/classic/execution.js';
import type { Container as ContainerMessage } from '../../api/gen/classic/types.js';
import { ProcessDetails } from '../../api/gen/runtime/runc-options.js';
import { Status } from '../../api/gen/types/task.js';
import type { Containers } from '../../kernel/contracts/containers.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import type { ProcessId, ProcessState, ProcessStatus } from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import type { Tasks } from '../../kernel/contracts/tasks.js';
import { hasCode, invalidArgument, notFound } from '../../kernel/errors.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { implement } from '../../lib/rpc/definition.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { classicEvents } from './events.js';
import type { ScopeOf } from './scope.js';

export interface ExecutionParts {
  readonly containers: Containers;
  readonly tasks: Tasks;
  readonly events: Events;
  readonly scopeOf: ScopeOf;
  /** For containers that name none, or `linux`, as they did. */
  readonly runtime: string;
  readonly log: Logger;
}

const STATUSES: Readonly<Record<ProcessStatus, Status>> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  stopped: Status.STOPPED,
  paused: Status.PAUSED,
  pausing: Status.PAUSED,
  unknown: Status.UNKNOWN,
};

const toContainer = ({ id, pid, status }: ProcessState): ContainerMessage => ({ id, pid, status: STATUSES[status] });

function need(spec: AnyMessage | undefined, what: string): AnyMessage {
  if (spec === undefined) throw invalidArgument(`${what} is required`);
  return spec;
}

class Execution {
  readonly #parts: ExecutionParts;

  constructor(parts: ExecutionParts) {
    this.#parts = parts;
  }

  /** A record and its task are one here; nothing is left of a create that failed. */
  async create(scope: Scope, request: CreateRequest): Promise<{ id: string; pid: number }> {
    const { containers, tasks, runtime } = this.#parts;
    const { id, rootfs, stdin, stdout, stderr, terminal } = request;
    const name = ['', 'linux', 'runc'].includes(request.runtime) ? runtime : request.runtime;
    const none = { labels: {}, image: '', snapshotter: '', snapshotKey: '', extensions: {}, sandbox: '' };
    await containers.create(scope, { ...none, id, runtime: { name }, spec: need(request.spec, 'spec') });
    try {
      return { id, pid: (await tasks.create(scope, { id, rootfs, stdin, stdout, stderr, terminal })).pid };
    } catch (error) {
      await containers.delete(scope, id);
      throw error;
    }
  }

  async delete(scope: Scope, id: string) {
    const { exitStatus, exitedAt } = await this.#parts.tasks.delete(scope, { id });
    await this.#parts.containers.delete(scope, id);
    return { id, exitStatus, exitedAt: toTimestamp(exitedAt) };
  }

  /** Starts at once; there being no call for it, the process is deleted when it ends. */
  async exec(scope: Scope, id: string, spec: AnyMessage, stdio: Parameters<Tasks['exec']>[1]): Promise<number> {
    const { tasks, log } = this.#parts;
    const process = { id, execId: stdio.execId };
    await tasks.exec(scope, { ...stdio, spec });
    const { pid } = await tasks.start(scope, process);
    const later = { namespace: scope.namespace };
    tasks
      .wait(later, process)
      .then(() => tasks.delete(later, process))
      .catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND')) log.warn({ err: error, ...process }, 'a process could not be cleaned up');
      });
    return pid;
  }

  /** The process of a container with that pid; 0 means the first. */
  async process(scope: Scope, id: string, pid: number): Promise<ProcessId> {
    const { tasks } = this.#parts;
    if (pid === 0 || (await tasks.get(scope, { id })).pid === pid) return { id };
    const found = (await tasks.pids(scope, id)).find((process) => process.pid === pid);
    if (found?.info !== undefined && isAny(ProcessDetails, found.info))
      return { id, execId: unpackAny(ProcessDetails, found.info).execId };
    throw notFound(`container "${id}" has no process ${pid} that was started through this API`);
  }
}

export function executionService(parts: ExecutionParts): GrpcService {
  const { tasks, scopeOf } = parts;
  const execution = new Execution(parts);
  return implement(ContainerServiceDefinition, {
    create: (request, call) => execution.create(scopeOf(call), request),
    async start({ id }, call) {
      await tasks.start(scopeOf(call), { id });
      return {};
    },
    delete: ({ id }, call) => execution.delete(scopeOf(call), id),
    info: async ({ id }, call) => toContainer(await tasks.get(scopeOf(call), { id })),
    list: async (_, call) => ({ containers: (await tasks.list(scopeOf(call))).map(toContainer) }),
    async kill({ id, signal, all }, call) {
      await tasks.kill(scopeOf(call), { id }, signal, all);
      return {};
    },
    events: (_, call) => classicEvents(parts.events, scopeOf(call)),
    async exec({ id, spec, ...stdio }, call) {
      const process = { ...stdio, id, execId: `classic-${randomUUID()}`, spec: need(spec, 'spec') };
      return { pid: await execution.exec(scopeOf(call), id, process.spec, process) };
    },
    async pty({ id, pid, width, height }, call) {
      const scope = scopeOf(call);
      await tasks.resize(scope, await execution.process(scope, id, pid), { width, height });
      return {};
    },
    async closeStdin({ id, pid }, call) {
      const scope = scopeOf(call);
      await tasks.closeStdin(scope, await execution.process(scope, id, pid));
      return {};
    },
  });
}
