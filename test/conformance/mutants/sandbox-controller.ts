/** Sandbox controllers with one behaviour broken each: that in memory, with one of its calls changed. */
import type { ExitStatus } from '../../../kernel/contracts/runtime.js';
import type { SandboxController } from '../../../kernel/contracts/sandbox-controllers.js';
import { type ErrorCode, hasCode, notFound } from '../../../kernel/errors.js';
import { MemorySandboxController } from '../../harness/memory-sandboxes.js';
import type { SandboxControllerSubject } from '../sandbox-controller.js';
import { altered } from './altered.js';
import type { Mutant } from './mutant.js';

export const soundController: SandboxControllerSubject = {
  name: 'in memory',
  unavailable: async () => undefined,
  can: { update: true, measure: true },
  open: async () => ({ controller: new MemorySandboxController(), close: async () => {} }),
};

/** Milliseconds: mutants that hang are to be caught soon. */
const PATIENCE = 500;

type Change = (real: MemorySandboxController) => Partial<SandboxController>;

const mutant = (title: string, caughtBy: RegExp, change: Change): Mutant<SandboxControllerSubject> => ({
  title,
  caughtBy,
  subject: () => ({
    ...soundController,
    patience: PATIENCE,
    async open() {
      const real = new MemorySandboxController();
      return { controller: altered<SandboxController>(real, change(real)), close: async () => {} };
    },
  }),
});

/** What the work resolves to, or `value` where it fails with that code. */
const unless = <T>(code: ErrorCode, work: Promise<T>, value: T): Promise<T> =>
  work.catch((error: unknown) => {
    if (!hasCode(error, code)) throw error;
    return value;
  });

const ANYWHERE = { namespace: 'anywhere' };
const STARTED = { pid: 0, createdAt: 1n, labels: {}, address: '', version: 0 };

/** The status that the first one waited for is told to him alone. */
const toldOnce: Change = (real) => {
  let told: ExitStatus | undefined;
  return {
    async wait(scope, id) {
      const exit = await real.wait(scope, id);
      if (told !== undefined) return { ...exit, exitStatus: 255 };
      told = exit;
      return exit;
    },
  };
};

/** One that waits holds up the stop of all others. */
const oneAfterTheOther: Change = (real) => {
  let turn: Promise<unknown> = Promise.resolve();
  return {
    wait(scope, id) {
      const exit = real.wait(scope, id);
      turn = exit;
      return exit;
    },
    async stop(scope, id) {
      await turn;
      await real.stop(scope, id);
    },
  };
};

export const sandboxControllerMutants: readonly Mutant<SandboxControllerSubject>[] = [
  mutant('a stop stops nothing', /makes a sandbox, starts, stops/, () => ({ stop: async () => {} })),
  mutant('what was shut down is still known', /makes a sandbox, starts, stops and forgets/, (real) => ({
    shutdown: (scope, id) => real.stop(scope, id),
  })),
  mutant('the time of the end is lost', /makes a sandbox, starts, stops/, (real) => ({
    status: async (...asked) => ({ ...(await real.status(...asked)), exitedAt: 0n }),
  })),
  mutant('every sandbox is in the same state', /makes a sandbox, starts, stops/, (real) => ({
    status: async (...asked) => ({ ...(await real.status(...asked)), state: 'SANDBOX_READY' }),
  })),
  mutant('what nobody made can be stopped', /knows nothing of a sandbox/, (real) => ({
    stop: (...asked) => unless('NOT_FOUND', real.stop(asked[0], asked[1]), undefined),
  })),
  mutant('who waits for what nobody made waits for ever', /knows nothing of a sandbox/, (real) => ({
    wait: (scope, id) =>
      real.wait(scope, id).catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND')) throw error;
        return new Promise<never>(() => {});
      }),
  })),
  mutant('a sandbox takes the place of one of its id', /has one sandbox of an id/, (real) => ({
    create: (...asked) => unless('ALREADY_EXISTS', real.create(...asked), undefined),
  })),
  mutant('all namespaces share their sandboxes', /has one sandbox of an id in a namespace/, (real) => ({
    create: (_, asked) => real.create(ANYWHERE, asked),
    status: (_, id, verbose) => real.status(ANYWHERE, id, verbose),
    shutdown: (_, id) => real.shutdown(ANYWHERE, id),
  })),
  mutant('a sandbox can be started again', /starts a sandbox once/, (real) => ({
    start: (...asked) => unless('FAILED_PRECONDITION', real.start(...asked), STARTED),
  })),
  mutant('what has stopped cannot be stopped', /stops what has stopped/, (real) => ({
    async stop(scope, id) {
      const { exitedAt } = await real.status(scope, id, false);
      if (exitedAt > 0n) throw notFound(`sandbox "${id}" has ended`);
      await real.stop(scope, id);
    },
  })),
  mutant('the end is told to one alone', /tells the same end to all who wait/, toldOnce),
  mutant('who waits cannot leave', /lets go who no longer wants to wait/, (real) => ({
    wait: ({ namespace }, id) => real.wait({ namespace }, id),
  })),
  mutant('what is shut down is not ended', /ends what runs when it is shut down/, (real) => ({
    async shutdown({ namespace }, id) {
      await real.status({ namespace }, id, false);
      real.sandboxes.delete(`${namespace}/${id}`);
    },
  })),
  mutant('who waits holds up others', /keeps sandboxes apart/, oneAfterTheOther),
  mutant('a sandbox runs nowhere', /says on what a sandbox runs/, () => ({
    platform: async () => ({ os: '', architecture: '' }),
  })),
  mutant('everything is told unasked', /says on what a sandbox runs, and more only when asked/, (real) => ({
    status: (scope, id) => real.status(scope, id, true),
  })),
  mutant('metrics are of no sandbox', /measures a sandbox/, (real) => ({
    metrics: async (...asked) => ({ ...(await real.metrics(...asked)), id: '' }),
  })),
  mutant('a change of what nobody made is taken', /takes over a change/, () => ({ update: async () => {} })),
];
