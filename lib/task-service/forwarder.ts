/**
 * From the calls of a runtime to the Task service of a shim (containerd.task.v2
 * and v3): what is the same for every runtime that stands before shims.
 */
import { internal, invalidArgument } from '../../kernel/errors.js';
import type { AnyMessage } from '../rpc/any.js';
import { fromTimestamp, type TimestampMessage } from '../rpc/timestamp.js';
import type { CallOptions } from '../ttrpc/client.js';

interface AnyWire {
  typeUrl: string;
  value: Uint8Array;
}

interface Process {
  id: string;
  execId: string;
}

interface StdioMessage {
  terminal: boolean;
  stdin: string;
  stdout: string;
  stderr: string;
}

interface StateMessage extends Process, StdioMessage {
  pid: number;
  status: number;
  exitStatus: number;
  exitedAt: TimestampMessage | undefined;
}

type Call<Request, Response = object> = (request: Request, options: CallOptions) => Promise<Response>;

/** Calls of the Task service that concern a task that is there; the generated stub has this shape. */
export interface TaskCalls {
  readonly state: Call<Process, StateMessage>;
  readonly exec: Call<Process & StdioMessage & { spec: AnyWire | undefined }>;
  readonly kill: Call<Process & { signal: number; all: boolean }>;
  readonly resizePty: Call<Process & { width: number; height: number }>;
  readonly closeIO: Call<Process & { stdin: boolean }>;
  readonly pause: Call<{ id: string }>;
  readonly resume: Call<{ id: string }>;
  readonly pids: Call<{ id: string }, { processes: { pid: number; info: AnyWire | undefined }[] }>;
  readonly checkpoint: Call<{ id: string; path: string; options: AnyWire | undefined }>;
  readonly update: Call<{ id: string; resources: AnyWire | undefined; annotations: Record<string, string> }>;
  readonly stats: Call<{ id: string }, { stats: AnyWire | undefined }>;
}

export interface CallScope {
  readonly namespace: string;
  readonly signal?: AbortSignal;
}

interface ProcessName {
  readonly id: string;
  readonly execId?: string;
}

interface StdioNames {
  readonly terminal: boolean;
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** By number in `containerd.v1.types.Status`. */
const STATUSES = ['unknown', 'created', 'running', 'stopped', 'paused', 'pausing'] as const;

/** What `state` tells; the contract's `ProcessState`. */
export interface ForwardedState extends ProcessName, StdioNames {
  readonly pid: number;
  readonly status: (typeof STATUSES)[number];
  readonly exit?: { readonly exitStatus: number; readonly exitedAt: bigint };
}

export const toProcessMessage = ({ id, execId = '' }: ProcessName): Process => ({ id, execId });

/** A copy that may be changed, as generated messages want it. */
export const toAnyMessage = ({ typeUrl, value }: AnyMessage): AnyWire => ({ typeUrl, value });

export abstract class TaskForwarder {
  /** Makes a call about a task to whoever serves it. NOT_FOUND when nobody does. */
  protected abstract forward<T>(
    scope: CallScope,
    id: string,
    call: (stub: TaskCalls, options: CallOptions) => Promise<T>,
  ): Promise<T>;

  async state(scope: CallScope, process: ProcessName): Promise<ForwardedState> {
    const message = await this.forward(scope, process.id, (stub, options) =>
      stub.state(toProcessMessage(process), options),
    );
    const { id, execId, pid, terminal, stdin, stdout, stderr, exitStatus, exitedAt } = message;
    const status = STATUSES[message.status] ?? 'unknown';
    const state = { id, execId, pid, status, terminal, stdin, stdout, stderr };
    return status === 'stopped' ? { ...state, exit: { exitStatus, exitedAt: fromTimestamp(exitedAt) } } : state;
  }

  async exec(
    scope: CallScope,
    {
      id,
      execId,
      spec,
      terminal,
      stdin,
      stdout,
      stderr,
    }: StdioNames & { id: string; execId: string; spec: AnyMessage },
  ): Promise<void> {
    const request = { id, execId, terminal, stdin, stdout, stderr, spec: toAnyMessage(spec) };
    await this.forward(scope, id, (stub, options) => stub.exec(request, options));
  }

  async kill(scope: CallScope, process: ProcessName, signal: number, all = false): Promise<void> {
    if (!Number.isInteger(signal) || signal < 1) throw invalidArgument(`signal ${signal} does not exist`);
    const request = { ...toProcessMessage(process), signal, all };
    await this.forward(scope, process.id, (stub, options) => stub.kill(request, options));
  }

  async resize(
    scope: CallScope,
    process: ProcessName,
    { width, height }: { readonly width: number; readonly height: number },
  ): Promise<void> {
    const request = { ...toProcessMessage(process), width, height };
    await this.forward(scope, process.id, (stub, options) => stub.resizePty(request, options));
  }

  async closeStdin(scope: CallScope, process: ProcessName): Promise<void> {
    const request = { ...toProcessMessage(process), stdin: true };
    await this.forward(scope, process.id, (stub, options) => stub.closeIO(request, options));
  }

  async pause(scope: CallScope, id: string): Promise<void> {
    await this.forward(scope, id, (stub, options) => stub.pause({ id }, options));
  }

  async resume(scope: CallScope, id: string): Promise<void> {
    await this.forward(scope, id, (stub, options) => stub.resume({ id }, options));
  }

  async pids(scope: CallScope, id: string): Promise<readonly { readonly pid: number; readonly info?: AnyMessage }[]> {
    const { processes } = await this.forward(scope, id, (stub, options) => stub.pids({ id }, options));
    return processes.map(({ pid, info }) => (info === undefined ? { pid } : { pid, info }));
  }

  async checkpoint(
    scope: CallScope,
    { id, path, options: any }: { readonly id: string; readonly path: string; readonly options?: AnyMessage },
  ): Promise<void> {
    const request = { id, path, options: any && toAnyMessage(any) };
    await this.forward(scope, id, (stub, options) => stub.checkpoint(request, options));
  }

  async update(
    scope: CallScope,
    id: string,
    resources: AnyMessage,
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const request = { id, resources: toAnyMessage(resources), annotations: { ...annotations } };
    await this.forward(scope, id, (stub, options) => stub.update(request, options));
  }

  async stats(scope: CallScope, id: string): Promise<AnyMessage> {
    const { stats } = await this.forward(scope, id, (stub, options) => stub.stats({ id }, options));
    if (stats === undefined) throw internal(`the shim of task "${id}" sent no stats`);
    return stats;
  }
}
