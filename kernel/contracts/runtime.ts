/**
 * Runtimes: what starts containers and watches over their processes.
 *
 * Vocabulary. A *task* is a container that runs, or could: it is named by the
 * container's id and begins with its *init* process. An *exec* is a further
 * process of a task, named by an exec id that is unique within the task. Both
 * are *processes* here, addressed by a {@link ProcessId}.
 *
 *     create -> created --start--> running --(exits)--> stopped --delete--> (none)
 *                                  running <--resume-- paused <--pause-- running
 *     exec   -> created --start--> running --(exits)--> stopped --delete--> (none)
 *
 * Life. Processes outlive the daemon. A runtime that starts finds the tasks it
 * left behind, running or stopped, with their exit status, before its plugin's
 * start resolves, or in the background for those that do not answer at once.
 *
 * Events. A runtime publishes the events of its tasks itself, in this order:
 * `/tasks/create`, `/tasks/start`, `/tasks/exit`, `/tasks/delete`; for an exec
 * `/tasks/exec-added`, `/tasks/exec-started`, `/tasks/exit`; besides
 * `/tasks/oom`, `/tasks/paused`, `/tasks/resumed`, `/tasks/checkpointed`. Each
 * process has exactly one exit; that of init comes after those of all execs.
 * A create that failed publishes nothing.
 *
 * Standard streams. `stdin`, `stdout`, `stderr` are URIs: a bare path is a FIFO
 * that the client made, `file:///path` is appended to, `binary:///path?key=value`
 * is a logging program that reads both streams from descriptors 3 and 4 and
 * closes 5 when ready, empty is `/dev/null`. With a terminal, `stdout` carries
 * everything and `stderr` is not used.
 *
 * Concurrency. Calls about one task are put in order by the runtime; calls about
 * others never wait for them. Cancelling `scope.signal` ends the wait, not the
 * work already begun.
 */
import { many } from '../token.js';
import type { AnyMessage, Nanos, Scope } from './scope.js';
import type { Mount } from './snapshots.js';

export interface ProcessId {
  /** The container's id. */
  readonly id: string;
  /** Absent or empty: the init process. */
  readonly execId?: string;
}

export type ProcessStatus = 'created' | 'running' | 'paused' | 'pausing' | 'stopped' | 'unknown';

export interface Stdio {
  readonly terminal: boolean;
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ExitStatus {
  /** 0 to 255; a process killed by signal N has 128 + N. */
  readonly exitStatus: number;
  readonly exitedAt: Nanos;
}

export interface ProcessState extends ProcessId, Stdio {
  /** 0 when there is none (an exec not yet started). */
  readonly pid: number;
  readonly status: ProcessStatus;
  /** Only once stopped. */
  readonly exit?: ExitStatus;
}

/** What a finished process leaves when it is deleted. */
export interface DeletedProcess extends ExitStatus {
  readonly pid: number;
}

export interface NewTask extends Stdio {
  readonly id: string;
  /** As asked for, for example `io.containerd.runc.v2`. */
  readonly runtime: string;
  /** The OCI runtime spec, JSON bytes under `types.containerd.io/opencontainers/runtime-spec/1/Spec`. */
  readonly spec: AnyMessage;
  /** Mounts that make up the root filesystem; empty when the spec's root is in place already. */
  readonly rootfs: readonly Mount[];
  /** Options of the runtime, for example `containerd.runc.v1.Options`. */
  readonly options?: AnyMessage;
  /** Absolute path of a checkpoint image to restore from. */
  readonly checkpoint?: string;
  /** Name of a runtime or path of a shim, asked for instead of `runtime`. */
  readonly runtimePath?: string;
  /** The sandbox the container belongs to; groups tasks under one supervisor or shim. */
  readonly sandbox?: string;
}

export interface NewExec extends Stdio {
  readonly id: string;
  /** Not empty. ALREADY_EXISTS when the task has it. */
  readonly execId: string;
  /** The OCI process, JSON bytes under `types.containerd.io/opencontainers/runtime-spec/1/Process`. */
  readonly spec: AnyMessage;
}

export interface TaskProcess {
  readonly pid: number;
  /** What the runtime knows besides, for example `containerd.runc.v1.ProcessDetails` with the exec id. */
  readonly info?: AnyMessage;
}

export interface TaskCheckpoint {
  readonly id: string;
  /** Absolute path of an existing directory that receives the image. */
  readonly path: string;
  /** For example `containerd.runc.v1.CheckpointOptions`. */
  readonly options?: AnyMessage;
}

export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

/** Who serves a task, for those who write about it (`ctr info`, introspection). */
export interface RuntimeFacts {
  readonly name: string;
  /** Version of the runtime's program; empty when it cannot be asked. */
  readonly version: string;
  readonly revision: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** The OCI features document (`runc features`), JSON bytes, when there is one. */
  readonly features?: AnyMessage;
}

/**
 * A backend. Every call about an unknown task or exec is NOT_FOUND; every call
 * that needs a live process is NOT_FOUND ("process already finished") for one
 * that has exited; UNAVAILABLE when what watches over the task does not answer.
 */
export interface Runtime {
  /**
   * Runtime names this backend serves. A pattern that ends in `*` serves every
   * name that begins so and that no other runtime names exactly.
   */
  readonly names: readonly string[];
  /** Ids of the tasks it holds in that namespace. */
  tasks(namespace: string): readonly string[];
  /** Namespaces in which it holds tasks. */
  namespaces(): readonly string[];
  /**
   * Makes the task: mounts, bundle, namespaces, an init process that waits to be
   * started. ALREADY_EXISTS; INVALID_ARGUMENT (spec, options, streams);
   * FAILED_PRECONDITION when the OCI runtime that configuration or options name
   * is missing; NOT_FOUND when a shim is that the runtime's name or path means.
   * Nothing is left of a create that failed.
   */
  create(scope: Scope, task: NewTask): Promise<{ readonly pid: number }>;
  /** FAILED_PRECONDITION when it was started before. */
  start(scope: Scope, process: ProcessId): Promise<{ readonly pid: number }>;
  /**
   * Removes a process that is stopped, or was never started; of an init process
   * with it the task and everything made for it. FAILED_PRECONDITION while it runs.
   */
  delete(scope: Scope, process: ProcessId): Promise<DeletedProcess>;
  state(scope: Scope, process: ProcessId): Promise<ProcessState>;
  /** FAILED_PRECONDITION when the task does not run. */
  exec(scope: Scope, exec: NewExec): Promise<void>;
  /** INVALID_ARGUMENT for a number that is no signal. `all`: every process of the task. */
  kill(scope: Scope, process: ProcessId, signal: number, all?: boolean): Promise<void>;
  /** FAILED_PRECONDITION without a terminal. */
  resize(scope: Scope, process: ProcessId, size: TerminalSize): Promise<void>;
  /** The process reads end of file once what was written is read. Idempotent. */
  closeStdin(scope: Scope, process: ProcessId): Promise<void>;
  pause(scope: Scope, id: string): Promise<void>;
  resume(scope: Scope, id: string): Promise<void>;
  pids(scope: Scope, id: string): Promise<readonly TaskProcess[]>;
  checkpoint(scope: Scope, checkpoint: TaskCheckpoint): Promise<void>;
  /** `resources`: OCI LinuxResources, JSON bytes. INVALID_ARGUMENT. */
  update(
    scope: Scope,
    id: string,
    resources: AnyMessage,
    annotations?: Readonly<Record<string, string>>,
  ): Promise<void>;
  /** An `io.containerd.cgroups.v1.Metrics` or `io.containerd.cgroups.v2.Metrics`. NOT_FOUND without a cgroup. */
  stats(scope: Scope, id: string): Promise<AnyMessage>;
  /** Resolves when the process has exited, at once when it has already. */
  wait(scope: Scope, process: ProcessId): Promise<ExitStatus>;
  /** What the program behind a runtime name says of itself. */
  facts(runtime: string, options?: AnyMessage): Promise<RuntimeFacts>;
}

/** Backends by wire id; `task` is the built-in one. */
export const Runtimes = many<Runtime>('runtime@1');
