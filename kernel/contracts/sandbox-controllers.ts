/**
 * Sandbox controllers: what makes the surroundings that the containers of one
 * pod share, watches over them and ends them. A virtual machine is one kind, a
 * set of kernel namespaces another.
 *
 *     create -> created --start--> ready --stop, or by itself--> not ready --shutdown--> (none)
 *
 * A controller knows nothing of the record of a sandbox ({@link Sandbox}): who
 * asks for a sandbox hands over what it should be made from.
 *
 * Events. `/sandboxes/create`, `/sandboxes/start` and `/sandboxes/exit` are
 * published by whoever calls a controller on behalf of clients, not by the
 * controller.
 *
 * Concurrency. Calls about one sandbox are put in order by the controller;
 * calls about others never wait for them. Cancelling `scope.signal` ends the
 * wait, not the work already begun.
 */
import { many } from '../token.js';
import type { ExitStatus } from './runtime.js';
import type { NewSandbox } from './sandboxes.js';
import type { AnyMessage, Labels, Nanos, Platform, Scope, UpdateMask } from './scope.js';
import type { Mount } from './snapshots.js';

export interface CreateSandbox {
  /** Of all that is there of the sandbox at least its id; times are for its record. */
  readonly sandbox: NewSandbox;
  readonly rootfs: readonly Mount[];
  /** Of the controller's own kind. */
  readonly options?: AnyMessage;
  /** Path of a network namespace to be used; empty for none. */
  readonly networkNamespace: string;
  readonly annotations: Labels;
}

/** Where the tasks of a sandbox are served, and by which protocol; empty and 0 when they are not. */
export interface SandboxEndpoint {
  readonly address: string;
  /** Of the task service: 2 or 3. */
  readonly version: number;
}

export interface StartedSandbox extends SandboxEndpoint {
  /** 0 when there is none. */
  readonly pid: number;
  readonly createdAt: Nanos;
  readonly labels: Labels;
  /** What the sandbox has become, when the controller changed it. */
  readonly spec?: AnyMessage;
}

export interface SandboxStatus extends SandboxEndpoint {
  readonly pid: number;
  /** The controller's own word; containerd's clients know `SANDBOX_READY` and `SANDBOX_NOTREADY`. */
  readonly state: string;
  /** More words, when they were asked for. */
  readonly info: Labels;
  readonly createdAt: Nanos;
  /** The zero time of Go's clients while it has not exited. */
  readonly exitedAt: Nanos;
  readonly extra?: AnyMessage;
}

export interface SandboxMetric {
  readonly id: string;
  readonly timestamp: Nanos;
  readonly data?: AnyMessage;
}

/** Every call about an unknown sandbox is NOT_FOUND; UNAVAILABLE when what watches over it does not answer. */
export interface SandboxController {
  /** ALREADY_EXISTS; INVALID_ARGUMENT. Nothing is left of a create that failed. */
  create(scope: Scope, sandbox: CreateSandbox): Promise<void>;
  start(scope: Scope, id: string): Promise<StartedSandbox>;
  /** On what its containers run. */
  platform(scope: Scope, id: string): Promise<Platform>;
  /** `timeout`: seconds that it gets to end by itself; 0 leaves that to the controller. No error when it has ended. */
  stop(scope: Scope, id: string, timeout: number): Promise<void>;
  /** Resolves when the sandbox has exited, at once when it has already. */
  wait(scope: Scope, id: string): Promise<ExitStatus>;
  status(scope: Scope, id: string, verbose: boolean): Promise<SandboxStatus>;
  /** Stops the sandbox where it runs, and forgets it with everything made for it. */
  shutdown(scope: Scope, id: string): Promise<void>;
  metrics(scope: Scope, id: string): Promise<SandboxMetric>;
  /** Takes over what changed of the sandbox; `mask` has the paths of `Sandboxes.update`. UNIMPLEMENTED is an answer. */
  update(scope: Scope, sandbox: NewSandbox, mask: UpdateMask): Promise<void>;
}

/** Controllers by wire id, which is what clients call a sandboxer. */
export const SandboxControllers = many<SandboxController>('sandbox-controller@1');
