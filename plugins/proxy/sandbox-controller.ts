/** A sandbox controller in another process: `containerd.services.sandbox.v1.Controller` over its socket. */
import { ControllerDefinition } from '../../api/gen/services/sandbox.js';
import type { ExitStatus } from '../../kernel/contracts/runtime.js';
import type {
  CreateSandbox,
  SandboxController,
  SandboxMetric,
  SandboxStatus,
  StartedSandbox,
} from '../../kernel/contracts/sandbox-controllers.js';
import type { NewSandbox } from '../../kernel/contracts/sandboxes.js';
import type { Platform, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { toSandboxMessage } from '../../lib/rpc/sandbox.js';
import type { CallOptions } from '../../lib/rpc/stub.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import type { Remote } from './remote.js';

const on = ({ namespace, lease, signal }: Scope): CallOptions => ({
  namespace,
  ...(lease !== undefined && { lease }),
  ...(signal && { signal }),
});

export class ProxySandboxController implements SandboxController {
  readonly #remote: Remote;
  readonly #stub;
  /** The name by which the process is told which controller is meant. */
  readonly #sandboxer: string;

  constructor(remote: Remote) {
    this.#remote = remote;
    this.#stub = remote.stub(ControllerDefinition);
    this.#sandboxer = remote.name;
  }

  async create(scope: Scope, asked: CreateSandbox): Promise<void> {
    const { sandbox, rootfs, options: own, networkNamespace, annotations } = asked;
    const request = {
      ...this.#about(sandbox.id),
      sandbox: toSandboxMessage(sandbox),
      rootfs: rootfs.map(toMountMessage),
      netnsPath: networkNamespace,
      annotations: { ...annotations },
      ...(own && { options: { typeUrl: own.typeUrl, value: own.value } }),
    };
    const what = `create of sandbox "${sandbox.id}"`;
    const answer = await this.#remote.call(what, (options) => this.#stub.create(request, options), on(scope));
    this.#believe(answer.sandboxId, sandbox.id);
  }

  async start(scope: Scope, id: string): Promise<StartedSandbox> {
    const request = this.#about(id);
    const what = `start of sandbox "${id}"`;
    const answer = await this.#remote.call(what, (options) => this.#stub.start(request, options), on(scope));
    const { sandboxId, pid, createdAt, labels, address, version, spec } = answer;
    this.#believe(sandboxId, id);
    return { pid, createdAt: fromTimestamp(createdAt), labels, address, version, ...(spec && { spec }) };
  }

  async platform(scope: Scope, id: string): Promise<Platform> {
    const request = this.#about(id);
    const what = `platform of sandbox "${id}"`;
    const answer = await this.#remote.call(what, (options) => this.#stub.platform(request, options), on(scope));
    if (answer.platform === undefined) throw this.#remote.lie(`knows no platform of sandbox "${id}"`);
    const { os, architecture, variant, osVersion } = answer.platform;
    return { os, architecture, ...(variant !== '' && { variant }), ...(osVersion !== '' && { osVersion }) };
  }

  async stop(scope: Scope, id: string, timeout: number): Promise<void> {
    const request = { ...this.#about(id), timeoutSecs: timeout };
    const what = `stop of sandbox "${id}"`;
    await this.#remote.call(what, (options) => this.#stub.stop(request, options), on(scope), timeout);
  }

  async wait(scope: Scope, id: string): Promise<ExitStatus> {
    const request = this.#about(id);
    const what = `wait for sandbox "${id}"`;
    const { exitStatus, exitedAt } = await this.#remote.outlast(
      what,
      (options) => this.#stub.wait(request, options),
      on(scope),
    );
    return { exitStatus, exitedAt: fromTimestamp(exitedAt) };
  }

  async status(scope: Scope, id: string, verbose: boolean): Promise<SandboxStatus> {
    const request = { ...this.#about(id), verbose };
    const what = `status of sandbox "${id}"`;
    const answer = await this.#remote.call(what, (options) => this.#stub.status(request, options), on(scope));
    const { sandboxId, pid, state, info, extra, address, version } = answer;
    this.#believe(sandboxId, id);
    const times = { createdAt: fromTimestamp(answer.createdAt), exitedAt: fromTimestamp(answer.exitedAt) };
    return { pid, state, info, ...times, address, version, ...(extra && { extra }) };
  }

  async shutdown(scope: Scope, id: string): Promise<void> {
    const request = this.#about(id);
    const what = `shutdown of sandbox "${id}"`;
    await this.#remote.call(what, (options) => this.#stub.shutdown(request, options), on(scope));
  }

  async metrics(scope: Scope, id: string): Promise<SandboxMetric> {
    const request = this.#about(id);
    const what = `metrics of sandbox "${id}"`;
    const { metrics } = await this.#remote.call(what, (options) => this.#stub.metrics(request, options), on(scope));
    if (metrics === undefined) throw this.#remote.lie(`has no metrics of sandbox "${id}"`);
    const { id: of, timestamp, data } = metrics;
    return { id: of, timestamp: fromTimestamp(timestamp), ...(data && { data }) };
  }

  async update(scope: Scope, sandbox: NewSandbox, mask: UpdateMask): Promise<void> {
    const request = { ...this.#about(sandbox.id), sandbox: toSandboxMessage(sandbox), fields: [...mask] };
    const what = `update of sandbox "${sandbox.id}"`;
    await this.#remote.call(what, (options) => this.#stub.update(request, options), on(scope));
  }

  #about(id: string): { readonly sandboxId: string; readonly sandboxer: string } {
    return { sandboxId: id, sandboxer: this.#sandboxer };
  }

  /** Controllers need not say whom an answer is about; containerd does not look. */
  #believe(answered: string, asked: string): void {
    if (answered !== '' && answered !== asked)
      throw this.#remote.lie(`was asked about sandbox "${asked}" and answers about "${answered}"`);
  }
}
