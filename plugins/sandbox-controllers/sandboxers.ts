import { SandboxCreate, SandboxExit, SandboxStart } from '../../api/gen/events/sandbox.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { ExitStatus } from '../../kernel/contracts/runtime.js';
import type { CreateSandbox, SandboxController, StartedSandbox } from '../../kernel/contracts/sandbox-controllers.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { invalidArgument, notFound } from '../../kernel/errors.js';
import { packAny } from '../../lib/rpc/any.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

/** The controllers by name, and the events of their sandboxes, which they do not publish themselves. */
export class Sandboxers {
  readonly #controllers: ReadonlyMap<string, SandboxController>;
  readonly #events: Events;

  constructor(controllers: ReadonlyMap<string, SandboxController>, events: Events) {
    this.#controllers = controllers;
    this.#events = events;
  }

  /** INVALID_ARGUMENT without a name; NOT_FOUND, with the names there are, when nobody is called so. */
  named(sandboxer: string): SandboxController {
    if (sandboxer === '') throw invalidArgument('the sandboxer of a call about a sandbox must be named');
    const controller = this.#controllers.get(sandboxer);
    if (controller !== undefined) return controller;
    const known = [...this.#controllers.keys()];
    throw notFound(`sandboxer "${sandboxer}" is unknown`, {
      remedy:
        known.length > 0 ? `known are ${known.join(', ')}` : 'add one to [proxy_plugins], with the type "sandbox"',
    });
  }

  async create(sandboxer: string, scope: Scope, sandbox: CreateSandbox): Promise<void> {
    await this.named(sandboxer).create(scope, sandbox);
    const event = packAny(SandboxCreate, { sandboxId: sandbox.sandbox.id });
    this.#events.publish(scope.namespace, '/sandboxes/create', event);
  }

  async start(sandboxer: string, scope: Scope, id: string): Promise<StartedSandbox> {
    const started = await this.named(sandboxer).start(scope, id);
    this.#events.publish(scope.namespace, '/sandboxes/start', packAny(SandboxStart, { sandboxId: id }));
    return started;
  }

  /** The exit is told once for each that waits. */
  async wait(sandboxer: string, scope: Scope, id: string): Promise<ExitStatus> {
    const exit = await this.named(sandboxer).wait(scope, id);
    const { exitStatus, exitedAt } = exit;
    const event = packAny(SandboxExit, { sandboxId: id, exitStatus, exitedAt: toTimestamp(exitedAt) });
    this.#events.publish(scope.namespace, '/sandboxes/exit', event);
    return exit;
  }
}
