/** A daemon's runtimes as clients have them: the contract over gRPC, so that the runtime kit runs through this door too. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RuntimeInfo, RuntimeRequest } from '../../api/gen/types/introspection.js';
import { type Client, connect, TaskStatus } from '../../client/index.js';
import type { Events } from '../../kernel/contracts/events.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewExec,
  NewTask,
  ProcessId,
  ProcessState,
  ProcessStatus,
  Runtime,
  RuntimeFacts,
  TaskCheckpoint,
  TaskProcess,
  TerminalSize,
} from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { hasCode, notFound } from '../../kernel/errors.js';
import { isAny, packAny, unpackAny } from '../../lib/rpc/any.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import type { OpenRuntime } from '../conformance/runtime.js';
import { startTestKernel } from './kernel.js';

const STATUSES: Readonly<Partial<Record<TaskStatus, ProcessStatus>>> = {
  [TaskStatus.CREATED]: 'created',
  [TaskStatus.RUNNING]: 'running',
  [TaskStatus.STOPPED]: 'stopped',
  [TaskStatus.PAUSED]: 'paused',
  [TaskStatus.PAUSING]: 'pausing',
};

const toAny = ({ typeUrl, value }: AnyMessage): { typeUrl: string; value: Uint8Array } => ({ typeUrl, value });

const process = ({ id, execId = '' }: ProcessId): { containerId: string; execId: string } => ({
  containerId: id,
  execId,
});

class RemoteRuntime implements Runtime {
  readonly names = [];
  readonly #client: Client;
  readonly #known = new Map<string, Set<string>>();

  constructor(client: Client, namespace: string, ids: readonly string[]) {
    this.#client = client;
    if (ids.length > 0) this.#known.set(namespace, new Set(ids));
  }

  #in({ namespace }: Scope): Client {
    return this.#client.in(namespace);
  }

  tasks(namespace: string): readonly string[] {
    return [...(this.#known.get(namespace) ?? [])];
  }

  namespaces(): readonly string[] {
    return [...this.#known.keys()];
  }

  async create(scope: Scope, task: NewTask): Promise<{ readonly pid: number }> {
    const { containers, tasks } = this.#in(scope);
    const { id, runtime: name, spec, rootfs, terminal, stdin, stdout, stderr, options } = task;
    const runtime = { name, options: options && toAny(options) };
    await containers.create({ container: { id, runtime, spec: toAny(spec) } });
    try {
      const mounts = rootfs.map(toMountMessage);
      const { pid } = await tasks.create({ containerId: id, rootfs: mounts, terminal, stdin, stdout, stderr });
      this.#known.set(scope.namespace, (this.#known.get(scope.namespace) ?? new Set()).add(id));
      return { pid };
    } catch (error) {
      await containers.delete({ id });
      throw error;
    }
  }

  start(scope: Scope, id: ProcessId): Promise<{ readonly pid: number }> {
    return this.#in(scope).tasks.start(process(id));
  }

  async delete(scope: Scope, { id, execId }: ProcessId): Promise<DeletedProcess> {
    const { containers, tasks } = this.#in(scope);
    const { pid, exitStatus, exitedAt } = await (execId
      ? tasks.deleteProcess({ containerId: id, execId })
      : tasks.delete({ containerId: id }));
    if (!execId) {
      await containers.delete({ id });
      this.#known.get(scope.namespace)?.delete(id);
    }
    return { pid, exitStatus, exitedAt: fromTimestamp(exitedAt) };
  }

  async state(scope: Scope, { id, execId = '' }: ProcessId): Promise<ProcessState> {
    const { process: found } = await this.#in(scope).tasks.get({ containerId: id, execId });
    if (found === undefined) throw notFound(`the daemon says nothing of task "${id}"`);
    const { pid, terminal, stdin, stdout, stderr, exitStatus, exitedAt } = found;
    const status = STATUSES[found.status] ?? 'unknown';
    const state = { id, execId, pid, status, terminal, stdin, stdout, stderr };
    return status === 'stopped' ? { ...state, exit: { exitStatus, exitedAt: fromTimestamp(exitedAt) } } : state;
  }

  async exec(scope: Scope, { id, execId, spec, terminal, stdin, stdout, stderr }: NewExec): Promise<void> {
    const request = { containerId: id, execId, spec: toAny(spec), terminal, stdin, stdout, stderr };
    await this.#in(scope).tasks.exec(request);
  }

  async kill(scope: Scope, id: ProcessId, signal: number, all = false): Promise<void> {
    await this.#in(scope).tasks.kill({ ...process(id), signal, all });
  }

  async resize(scope: Scope, id: ProcessId, { width, height }: TerminalSize): Promise<void> {
    await this.#in(scope).tasks.resizePty({ ...process(id), width, height });
  }

  async closeStdin(scope: Scope, id: ProcessId): Promise<void> {
    await this.#in(scope).tasks.closeIO({ ...process(id), stdin: true });
  }

  async pause(scope: Scope, id: string): Promise<void> {
    await this.#in(scope).tasks.pause({ containerId: id });
  }

  async resume(scope: Scope, id: string): Promise<void> {
    await this.#in(scope).tasks.resume({ containerId: id });
  }

  async pids(scope: Scope, id: string): Promise<readonly TaskProcess[]> {
    const { processes } = await this.#in(scope).tasks.listPids({ containerId: id });
    return processes.map(({ pid, info }) => (info === undefined ? { pid } : { pid, info }));
  }

  /** The image goes to the daemon's content, not to the path. */
  async checkpoint(scope: Scope, { id, options }: TaskCheckpoint): Promise<void> {
    await this.#in(scope).tasks.checkpoint({ containerId: id, options: options && toAny(options) });
  }

  async update(scope: Scope, id: string, resources: AnyMessage): Promise<void> {
    await this.#in(scope).tasks.update({ containerId: id, resources: toAny(resources) });
  }

  async stats(scope: Scope, id: string): Promise<AnyMessage> {
    const { metrics } = await this.#in(scope).tasks.metrics({ filters: [`id==${id}`] });
    const data = metrics[0]?.data;
    if (data === undefined) throw notFound(`there are no metrics of task "${id}"`);
    return data;
  }

  async wait(scope: Scope, id: ProcessId): Promise<ExitStatus> {
    const { signal } = scope;
    const { exitStatus, exitedAt } = await this.#in(scope).tasks.wait(process(id), signal && { signal });
    return { exitStatus, exitedAt: fromTimestamp(exitedAt) };
  }

  async facts(runtime: string): Promise<RuntimeFacts> {
    const options = packAny(RuntimeRequest, RuntimeRequest.create({ runtimePath: runtime }));
    const plugin = { type: 'io.containerd.runtime.v2', id: 'task', options };
    const { extra } = await this.#client.introspection.pluginInfo(plugin);
    if (extra === undefined || !isAny(RuntimeInfo, extra)) throw notFound(`the daemon says nothing of "${runtime}"`);
    const { name, version, annotations } = unpackAny(RuntimeInfo, extra);
    return { name, version: version?.version ?? '', revision: version?.revision ?? '', annotations };
  }
}

const PLUGINS = [
  ...['containers-service', 'content', 'events', 'events-service', 'introspection', 'metadata', 'runtime-runc'],
  ...['runtime-shim', 'server-grpc', 'server-ttrpc', 'snapshot-vfs', 'tasks', 'tasks-service'],
];

/** A kernel with servers, and its runtimes through them. Events of tasks come from its event service. */
export async function openRemoteRuntime(directory: string, namespace: string, events: Events): Promise<OpenRuntime> {
  const address = join(directory, 'g.sock');
  const ttrpcAddress = `${address}.ttrpc`;
  const config = {
    'server-grpc': { address },
    'server-ttrpc': { address: ttrpcAddress },
    'runtime-shim': { address, ttrpc_address: ttrpcAddress },
    'runtime-runc': { idle: 1 },
  };
  const kernel = await startTestKernel({ directory, plugins: PLUGINS, config });
  try {
    const { runtime, close } = await remoteRuntime(address, namespace, events);
    return {
      runtime,
      async close() {
        await close();
        await kernel.stop();
      },
    };
  } catch (error) {
    await kernel.stop();
    throw error;
  }
}

/** Published until one arrives: stock containerd does not say when a subscription stands. */
const MARK = { topic: '/kit/mark', event: { typeUrl: 'kit.Mark', value: new Uint8Array(0) } };

/** The runtimes of the daemon at the socket. */
export async function remoteRuntime(address: string, namespace: string, events: Events): Promise<OpenRuntime> {
  const client = connect({ address, namespace });
  const stream = client.events.subscribe({ filters: ['topic~=|^/tasks/|', `topic=="${MARK.topic}"`] });
  let stands = false;
  const followed = follow(stream, events, () => {
    stands = true;
  });
  while (!stands) {
    await client.events.publish(MARK);
    await Promise.race([followed, delay(5)]);
  }
  const { tasks } = await client.tasks.list({});
  const known = tasks.map(({ containerId }) => containerId);
  return {
    runtime: new RemoteRuntime(client, namespace, known),
    async close() {
      stream.cancel();
      await followed;
      client[Symbol.dispose]();
    },
  };
}

type Envelopes = ReturnType<Client['events']['subscribe']>;

/** `onMark`: called with each mark, which is not handed on. */
async function follow(envelopes: Envelopes, events: Events, onMark: () => void): Promise<void> {
  try {
    for await (const { timestamp, namespace, topic, event } of envelopes) {
      if (topic === MARK.topic) onMark();
      else if (event) events.forward({ timestamp: fromTimestamp(timestamp), namespace, topic, event });
    }
  } catch (error) {
    if (!hasCode(error, 'CANCELED')) throw error;
  }
}
