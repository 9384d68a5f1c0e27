/** A sandbox controller in memory: its sandboxes are entries of a map, with the life that the contract tells. */
import type { ExitStatus } from '../../kernel/contracts/runtime.js';
import type {
  CreateSandbox,
  SandboxController,
  SandboxMetric,
  SandboxStatus,
  StartedSandbox,
} from '../../kernel/contracts/sandbox-controllers.js';
import type { NewSandbox } from '../../kernel/contracts/sandboxes.js';
import type { Platform, Scope } from '../../kernel/contracts/scope.js';
import { alreadyExists, failedPrecondition, notFound } from '../../kernel/errors.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { now, ZERO_TIME } from '../../lib/rpc/timestamp.js';

export interface MemorySandbox {
  readonly asked: CreateSandbox;
  readonly createdAt: bigint;
  /** As it was last told. */
  sandbox: NewSandbox;
  state: 'created' | 'SANDBOX_READY' | 'SANDBOX_NOTREADY';
  /** Settles when the sandbox ends. */
  readonly exit: PromiseWithResolvers<ExitStatus>;
  exited?: ExitStatus;
}

const NOWHERE = { address: '', version: 0 } as const;

/** What the work resolves to, unless the caller goes before. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', leave));
}

const keyOf = ({ namespace }: Scope, id: string): string => `${namespace}/${id}`;

export class MemorySandboxController implements SandboxController {
  /** By `namespace/id`. */
  readonly sandboxes = new Map<string, MemorySandbox>();

  async create(scope: Scope, asked: CreateSandbox): Promise<void> {
    const { sandbox } = asked;
    const key = keyOf(scope, sandbox.id);
    if (this.sandboxes.has(key)) throw alreadyExists(`sandbox "${sandbox.id}" already exists`);
    const exit = Promise.withResolvers<ExitStatus>();
    this.sandboxes.set(key, { asked, createdAt: now(), sandbox, state: 'created', exit });
  }

  async start(scope: Scope, id: string): Promise<StartedSandbox> {
    const sandbox = this.#sandbox(scope, id);
    if (sandbox.state !== 'created') throw failedPrecondition(`sandbox "${id}" was started before`);
    sandbox.state = 'SANDBOX_READY';
    return { pid: 0, createdAt: sandbox.createdAt, labels: sandbox.sandbox.labels, ...NOWHERE };
  }

  async platform(scope: Scope, id: string): Promise<Platform> {
    this.#sandbox(scope, id);
    return hostPlatform();
  }

  async stop(scope: Scope, id: string): Promise<void> {
    this.end(scope, id, 0);
  }

  async wait(scope: Scope, id: string): Promise<ExitStatus> {
    return untilAborted(this.#sandbox(scope, id).exit.promise, scope.signal);
  }

  async status(scope: Scope, id: string, verbose: boolean): Promise<SandboxStatus> {
    const { state, createdAt, exited, sandbox } = this.#sandbox(scope, id);
    const info = verbose ? [['labels', JSON.stringify(sandbox.labels)]] : [];
    return {
      pid: 0,
      state,
      info: Object.fromEntries(info),
      createdAt,
      exitedAt: exited?.exitedAt ?? ZERO_TIME,
      ...NOWHERE,
    };
  }

  async shutdown(scope: Scope, id: string): Promise<void> {
    this.end(scope, id, 0);
    this.sandboxes.delete(keyOf(scope, id));
  }

  async metrics(scope: Scope, id: string): Promise<SandboxMetric> {
    this.#sandbox(scope, id);
    return { id, timestamp: now() };
  }

  async update(scope: Scope, sandbox: NewSandbox): Promise<void> {
    this.#sandbox(scope, sandbox.id).sandbox = sandbox;
  }

  /** Ends the sandbox with that status, unless it has ended: also what a test calls in place of a crash. */
  end(scope: Scope, id: string, exitStatus: number): void {
    const sandbox = this.#sandbox(scope, id);
    if (sandbox.exited !== undefined) return;
    sandbox.exited = { exitStatus, exitedAt: now() };
    sandbox.state = 'SANDBOX_NOTREADY';
    sandbox.exit.resolve(sandbox.exited);
  }

  #sandbox(scope: Scope, id: string): MemorySandbox {
    const sandbox = this.sandboxes.get(keyOf(scope, id));
    if (sandbox === undefined) throw notFound(`sandbox "${id}" not found in namespace "${scope.namespace}"`);
    return sandbox;
  }
}
