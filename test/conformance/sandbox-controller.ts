/**
 * What every sandbox controller keeps: the promises of kernel/contracts/sandbox-controllers.ts.
 *
 *     sandboxControllerConformance({ describe, it }, subject)
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { CreateSandbox, SandboxController } from '../../kernel/contracts/sandbox-controllers.js';
import type { NewSandbox } from '../../kernel/contracts/sandboxes.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { checkOf, type Runner, type Subject } from './runner.js';

export interface OpenSandboxController {
  readonly controller: SandboxController;
  close(): Promise<void>;
}

export interface SandboxControllerSubject extends Subject {
  readonly can: {
    /** Takes over what changes of a sandbox; false: UNIMPLEMENTED. */
    readonly update: boolean;
    /** Measures its sandboxes; false: UNIMPLEMENTED. */
    readonly measure: boolean;
  };
  /** A controller that has no sandboxes in the namespaces of the kit. */
  open(): Promise<OpenSandboxController>;
  /** What sandboxes are asked for with, beside id and labels: runtime, spec, options. */
  readonly request?: Partial<CreateSandbox>;
  /** Milliseconds anything of it may take before it counts as hung; 20 000 by default. */
  readonly patience?: number;
}

const A: Scope = { namespace: 'kit-a' };
const B: Scope = { namespace: 'kit-b' };
const PATIENCE = 20_000;

/** Seconds that a sandbox gets to end by itself. */
const STOP = 5;

const rejects = (code: ErrorCode, work: Promise<unknown>): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    return true;
  });

class Bench {
  readonly controller: SandboxController;
  readonly #subject: SandboxControllerSubject;
  readonly #made: { readonly scope: Scope; readonly id: string }[] = [];

  constructor(controller: SandboxController, subject: SandboxControllerSubject) {
    this.controller = controller;
    this.#subject = subject;
  }

  sandbox(id: string, labels: NewSandbox['labels'] = {}): NewSandbox {
    const asked = this.#subject.request?.sandbox ?? { runtime: { name: '' }, extensions: {} };
    return { sandboxer: '', ...asked, id, labels };
  }

  async create(id: string, scope: Scope = A, labels: NewSandbox['labels'] = {}): Promise<void> {
    const none = { rootfs: [], networkNamespace: '', annotations: {} };
    const asked = { ...none, ...this.#subject.request, sandbox: this.sandbox(id, labels) };
    await this.controller.create(scope, asked);
    this.#made.push({ scope, id });
  }

  async started(id: string, scope: Scope = A): Promise<void> {
    await this.create(id, scope);
    await this.controller.start(scope, id);
  }

  async inTime<T>(what: string, work: Promise<T>): Promise<T> {
    const { patience = PATIENCE } = this.#subject;
    const timer = new AbortController();
    const late = delay(patience, undefined, { signal: timer.signal }).then(() => assert.fail(`${what}: too late`));
    try {
      return await Promise.race([work, late]);
    } finally {
      timer.abort();
    }
  }

  /** Ends what a check has left. */
  async close(): Promise<void> {
    for (const { scope, id } of this.#made)
      await this.controller.shutdown(scope, id).catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND')) throw error;
      });
  }
}

type Check = (bench: Bench, can: SandboxControllerSubject['can']) => Promise<void>;

const CHECKS: Readonly<Record<string, Check>> = {
  'makes a sandbox, starts, stops and forgets it': async (bench) => {
    const { controller } = bench;
    await bench.create('one');
    const created = await controller.status(A, 'one', false);
    const { pid, createdAt } = await controller.start(A, 'one');
    assert.ok(Number.isSafeInteger(pid) && pid >= 0, `pid ${pid}`);
    assert.ok(createdAt > 0n, 'a sandbox has a time of its creation');
    const running = await controller.status(A, 'one', false);
    assert.notEqual(running.state, created.state, 'one that was started is in another state');
    await controller.stop(A, 'one', STOP);
    await bench.inTime('exit', controller.wait(A, 'one'));
    const stopped = await controller.status(A, 'one', false);
    assert.notEqual(stopped.state, running.state, 'one that has ended is in another state');
    assert.ok(stopped.exitedAt > 0n, 'a sandbox has a time of its end');
    await controller.shutdown(A, 'one');
    await rejects('NOT_FOUND', controller.status(A, 'one', false));
  },

  'knows nothing of a sandbox that nobody made': async (bench) => {
    const { controller } = bench;
    await rejects('NOT_FOUND', controller.start(A, 'none'));
    await rejects('NOT_FOUND', controller.platform(A, 'none'));
    await rejects('NOT_FOUND', controller.stop(A, 'none', STOP));
    await rejects('NOT_FOUND', bench.inTime('wait', controller.wait(A, 'none')));
    await rejects('NOT_FOUND', controller.status(A, 'none', true));
    await rejects('NOT_FOUND', controller.shutdown(A, 'none'));
  },

  'has one sandbox of an id in a namespace, and takes the id again afterwards': async (bench) => {
    await bench.create('one');
    await rejects('ALREADY_EXISTS', bench.create('one'));
    await bench.create('one', B);
    await bench.controller.shutdown(B, 'one');
    await bench.controller.status(A, 'one', false);
    await bench.controller.shutdown(A, 'one');
    await bench.create('one');
  },

  'starts a sandbox once': async (bench) => {
    await bench.started('one');
    await rejects('FAILED_PRECONDITION', bench.controller.start(A, 'one'));
    await bench.controller.stop(A, 'one', STOP);
    await rejects('FAILED_PRECONDITION', bench.controller.start(A, 'one'));
  },

  'stops what has stopped, and what was never started': async (bench) => {
    await bench.started('one');
    for (let time = 0; time < 2; time += 1) await bench.controller.stop(A, 'one', STOP);
    await bench.create('two');
    await bench.controller.stop(A, 'two', STOP);
  },

  'tells the same end to all who wait, before it and after': async (bench) => {
    await bench.started('one');
    const early = [bench.controller.wait(A, 'one'), bench.controller.wait(A, 'one')];
    await bench.controller.stop(A, 'one', STOP);
    const exits = await bench.inTime('exit', Promise.all([...early, bench.controller.wait(A, 'one')]));
    const [first] = exits;
    assert.ok(first && first.exitedAt > 0n);
    for (const exit of exits) assert.deepEqual(exit, first);
  },

  'lets go who no longer wants to wait': async (bench) => {
    await bench.started('one');
    const caller = new AbortController();
    const waiting = assert.rejects(bench.controller.wait({ ...A, signal: caller.signal }, 'one'));
    caller.abort();
    await bench.inTime('the end of the wait', waiting);
    await bench.controller.status(A, 'one', false);
  },

  'ends what runs when it is shut down, and tells who waits': async (bench) => {
    await bench.started('one');
    const waiting = bench.controller.wait(A, 'one');
    await bench.controller.shutdown(A, 'one');
    await bench.inTime('exit', waiting);
    await rejects('NOT_FOUND', bench.controller.shutdown(A, 'one'));
  },

  'keeps sandboxes apart': async (bench) => {
    const ids = Array.from({ length: 10 }, (_, index) => `s${index}`);
    await Promise.all(ids.map((id) => bench.started(id)));
    const waiting = bench.controller.wait(A, 's0');
    await bench.inTime('stop of others', Promise.all(ids.slice(1).map((id) => bench.controller.stop(A, id, STOP))));
    const states = await Promise.all(ids.map(async (id) => (await bench.controller.status(A, id, false)).state));
    assert.equal(states.filter((state) => state === states[0]).length, 1, states.join(' '));
    await bench.controller.stop(A, 's0', STOP);
    await bench.inTime('exit', waiting);
  },

  'says on what a sandbox runs, and more only when asked': async (bench) => {
    await bench.started('one');
    const { os, architecture } = await bench.controller.platform(A, 'one');
    assert.ok(os !== '' && architecture !== '', `platform ${os}/${architecture}`);
    assert.deepEqual((await bench.controller.status(A, 'one', false)).info, {});
  },

  'measures a sandbox, or says that it cannot': async (bench, { measure }) => {
    await bench.started('one');
    if (!measure) return rejects('UNIMPLEMENTED', bench.controller.metrics(A, 'one'));
    const { id, timestamp } = await bench.controller.metrics(A, 'one');
    assert.equal(id, 'one');
    assert.ok(timestamp > 0n);
    await rejects('NOT_FOUND', bench.controller.metrics(A, 'none'));
  },

  'takes over a change, or says that it cannot': async (bench, { update }) => {
    await bench.started('one');
    const changed = bench.sandbox('one', { changed: 'yes' });
    if (!update) return rejects('UNIMPLEMENTED', bench.controller.update(A, changed, ['labels']));
    await bench.controller.update(A, changed, ['labels']);
    await rejects('NOT_FOUND', bench.controller.update(A, bench.sandbox('none'), ['labels']));
  },
};

export function sandboxControllerConformance(runner: Runner, subject: SandboxControllerSubject): void {
  runner.describe(`sandbox controller ${subject.name}`, () => {
    for (const [title, check] of Object.entries(CHECKS)) {
      checkOf(runner, subject, title, async () => {
        const { controller, close } = await subject.open();
        const bench = new Bench(controller, subject);
        try {
          await check(bench, subject.can);
        } finally {
          await bench.close();
          await close();
        }
      });
    }
  });
}
