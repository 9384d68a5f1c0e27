/**
 * Tasks: the service in front of the runtimes. A task belongs to a container
 * record, which says which runtime makes it and from which spec; everything
 * else about processes is told in `runtime.ts`, errors included.
 */
import { one } from '../token.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewExec,
  ProcessId,
  ProcessState,
  Stdio,
  TaskProcess,
  TerminalSize,
} from './runtime.js';
import type { AnyMessage, Descriptor, Nanos, Scope } from './scope.js';
import type { Mount } from './snapshots.js';

export interface CreateTask extends Stdio {
  /** Id of an existing container: NOT_FOUND otherwise, ALREADY_EXISTS when it has a task. */
  readonly id: string;
  /** What the snapshotter returned for the container's snapshot. */
  readonly rootfs: readonly Mount[];
  /** Overrides the container's runtime options. */
  readonly options?: AnyMessage;
  /** A checkpoint in content to restore from. */
  readonly checkpoint?: Descriptor;
  /** Name of a runtime or path of a shim, to be used instead of the container's. */
  readonly runtimePath?: string;
}

export interface TaskMetric {
  readonly id: string;
  readonly timestamp: Nanos;
  /** See `Runtime.stats`. */
  readonly data: AnyMessage;
}

export interface CheckpointTask {
  readonly id: string;
  /** For example `containerd.runc.v1.CheckpointOptions`. */
  readonly options?: AnyMessage;
}

export interface Tasks {
  create(scope: Scope, task: CreateTask): Promise<{ readonly pid: number }>;
  start(scope: Scope, process: ProcessId): Promise<{ readonly pid: number }>;
  delete(scope: Scope, process: ProcessId): Promise<DeletedProcess>;
  /** A runtime that does not answer within two seconds: status `unknown`. */
  get(scope: Scope, process: ProcessId): Promise<ProcessState>;
  /** The init processes of all tasks of the namespace; those whose runtime does not answer are `unknown`. */
  list(scope: Scope): Promise<readonly ProcessState[]>;
  exec(scope: Scope, exec: NewExec): Promise<void>;
  kill(scope: Scope, process: ProcessId, signal: number, all?: boolean): Promise<void>;
  resize(scope: Scope, process: ProcessId, size: TerminalSize): Promise<void>;
  closeStdin(scope: Scope, process: ProcessId): Promise<void>;
  pause(scope: Scope, id: string): Promise<void>;
  resume(scope: Scope, id: string): Promise<void>;
  pids(scope: Scope, id: string): Promise<readonly TaskProcess[]>;
  /** Writes the checkpoint to content; the descriptors of what it wrote. */
  checkpoint(scope: Scope, checkpoint: CheckpointTask): Promise<readonly Descriptor[]>;
  update(
    scope: Scope,
    id: string,
    resources: AnyMessage,
    annotations?: Readonly<Record<string, string>>,
  ): Promise<void>;
  /** Filters on `id`, `namespace` and `runtime`; none matches all. Tasks without an answer in two seconds are left out. */
  metrics(scope: Scope, filters?: readonly string[]): Promise<readonly TaskMetric[]>;
  wait(scope: Scope, process: ProcessId): Promise<ExitStatus>;
}

export const Tasks = one<Tasks>('tasks@1');
