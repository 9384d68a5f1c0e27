/** Runtimes with one behaviour broken each, for the kit to catch: runtime-runc with one call or its events changed. */
import { setTimeout as delay } from 'node:timers/promises';
import { TaskExit } from '../../../api/gen/events/task.js';
import type { Envelope, Events } from '../../../kernel/contracts/events.js';
import type { ProcessId, ProcessState, Runtime } from '../../../kernel/contracts/runtime.js';
import type { Scope } from '../../../kernel/contracts/scope.js';
import { type ErrorCode, hasCode, notFound } from '../../../kernel/errors.js';
import { packAny, unpackAny } from '../../../lib/rpc/any.js';
import { now } from '../../../lib/rpc/timestamp.js';
import { runcSubject } from '../../harness/runc.js';
import type { RuntimeSubject } from '../runtime.js';
import { NAMESPACE, scope } from '../runtime.workbench.js';
import type { Mutant } from './mutant.js';

/** Milliseconds: mutants that hang are to be caught soon. */
const PATIENCE = 2000;

const real = runcSubject();

/** Calls that take the place of those of the real runtime. */
type Calls = (real: Runtime) => Partial<Runtime>;

/** What becomes of an event on its way to the real exchange. */
type Tell = (envelope: Envelope, deliver: (envelope: Envelope) => void) => void;

interface Change {
  readonly calls?: Calls;
  /** Makes one for each time that the runtime is opened. */
  readonly tell?: () => Tell;
}

/** The calls of a runtime as properties, so that some can be replaced. */
const callsOf = (real: Runtime): Runtime => ({
  names: real.names,
  tasks: (namespace) => real.tasks(namespace),
  namespaces: () => real.namespaces(),
  create: (scope, task) => real.create(scope, task),
  start: (scope, process) => real.start(scope, process),
  delete: (scope, process) => real.delete(scope, process),
  state: (scope, process) => real.state(scope, process),
  exec: (scope, exec) => real.exec(scope, exec),
  kill: (scope, process, signal, all) => real.kill(scope, process, signal, all),
  resize: (scope, process, size) => real.resize(scope, process, size),
  closeStdin: (scope, process) => real.closeStdin(scope, process),
  pause: (scope, id) => real.pause(scope, id),
  resume: (scope, id) => real.resume(scope, id),
  pids: (scope, id) => real.pids(scope, id),
  checkpoint: (scope, checkpoint) => real.checkpoint(scope, checkpoint),
  update: (scope, id, resources, annotations) => real.update(scope, id, resources, annotations),
  stats: (scope, id) => real.stats(scope, id),
  wait: (scope, process) => real.wait(scope, process),
  facts: (runtime, options) => real.facts(runtime, options),
});

const eventsThrough = (real: Events, tell: Tell): Events => {
  const forward = (envelope: Envelope): void => tell(envelope, (told) => real.forward(told));
  return {
    forward,
    publish: (namespace, topic, event) => forward({ timestamp: now(), namespace, topic, event }),
    subscribe: (filters, signal) => real.subscribe(filters, signal),
  };
};

async function end(runtime: Runtime, id: string): Promise<void> {
  if ((await runtime.state(scope, { id })).status !== 'stopped') await runtime.kill(scope, { id }, 9);
  await runtime.wait(scope, { id });
  await runtime.delete(scope, { id });
}

/** Ends what a mutant can no longer end, by a runtime that is sound. */
async function endAll(state: string, events: Events): Promise<void> {
  const { runtime, close } = await real.open(state, events);
  try {
    for (const id of runtime.tasks(NAMESPACE)) await end(runtime, id);
  } finally {
    await close();
  }
}

function changed({
  calls = () => ({}),
  tell = () => (envelope, deliver) => deliver(envelope),
}: Change): RuntimeSubject {
  let opened: { readonly state: string; readonly events: Events } | undefined;
  return {
    ...real,
    patience: PATIENCE,
    async directory() {
      const directory = await real.directory();
      return {
        path: directory.path,
        async [Symbol.asyncDispose]() {
          if (opened !== undefined) await endAll(opened.state, opened.events);
          await directory[Symbol.asyncDispose]();
        },
      };
    },
    async open(state, events) {
      opened = { state, events };
      const { runtime, close } = await real.open(state, eventsThrough(events, tell()));
      return { runtime: { ...callsOf(runtime), ...calls(runtime) }, close };
    },
  };
}

/** Made as the broken ones, with nothing broken and time enough. */
export const soundRuntime = (): RuntimeSubject => ({ ...changed({}), patience: real.patience });

const mutant = (title: string, caughtBy: RegExp, change: Change): Mutant<RuntimeSubject> => ({
  title,
  caughtBy,
  subject: () => changed(change),
});

/** What to do instead of failing with that code. */
const instead =
  <T>(code: ErrorCode, work: () => Promise<T> | T) =>
  (error: unknown): Promise<T> | T => {
    if (hasCode(error, code)) return work();
    throw error;
  };

const onExit =
  (change: (exit: TaskExit, envelope: Envelope, deliver: (envelope: Envelope) => void) => void): Tell =>
  (envelope, deliver) => {
    if (envelope.topic === '/tasks/exit') change(unpackAny(TaskExit, envelope.event), envelope, deliver);
    else deliver(envelope);
  };

const exitOfInitFirst = (): Tell => {
  const held: Envelope[] = [];
  return onExit(({ id, containerId }, envelope, deliver) => {
    if (id !== containerId) return held.push(envelope);
    return [envelope, ...held.splice(0)].forEach(deliver);
  });
};

const exitWithoutStatus = (): Tell =>
  onExit((exit, envelope, deliver) => deliver({ ...envelope, event: packAny(TaskExit, { ...exit, exitStatus: 0 }) }));

const stateChanged =
  (change: (state: ProcessState) => ProcessState): Calls =>
  (real) => ({
    state: async (...asked) => change(await real.state(...asked)),
  });

const withoutTime = (state: ProcessState): ProcessState =>
  state.exit ? { ...state, exit: { ...state.exit, exitedAt: 0n } } : state;

const runningForEver = (state: ProcessState): ProcessState =>
  state.status === 'stopped' ? { ...state, status: 'running' } : state;

const statusOfSevenBits: Calls = (real) => ({
  async wait(...asked) {
    const exit = await real.wait(...asked);
    return { ...exit, exitStatus: exit.exitStatus & 0x7f };
  },
});

const execsAlwaysSucceed: Calls = (real) => ({
  async wait(scope, process) {
    const exit = await real.wait(scope, process);
    return process.execId ? { ...exit, exitStatus: 0 } : exit;
  },
});

const deletionKills: Calls = (real) => ({
  async delete(scope, process) {
    const { status } = await real.state(scope, process);
    if (status === 'running') {
      await real.kill(scope, process, 9);
      await real.wait(scope, process);
    }
    return real.delete(scope, process);
  },
});

const startedAgain: Calls = (real) => ({
  start: (scope, process) =>
    real.start(scope, process).catch(instead('FAILED_PRECONDITION', () => real.state(scope, process))),
});

const signalsUnchecked: Calls = (real) => ({
  kill: (...asked) => real.kill(...asked).catch(instead('INVALID_ARGUMENT', () => undefined)),
});

const tasksForgottenByRestart: Calls = (real) => {
  const forgotten = new Set(real.tasks(NAMESPACE));
  return {
    tasks: (namespace) => real.tasks(namespace).filter((id) => !forgotten.has(id)),
    async state(scope: Scope, process: ProcessId) {
      if (forgotten.has(process.id)) throw notFound(`task "${process.id}"`);
      return real.state(scope, process);
    },
  };
};

const outputsSwapped: Calls = (real) => ({
  create: (scope, task) => real.create(scope, { ...task, stdout: task.stderr, stderr: task.stdout }),
});

/** The start of a task is told when its exit is. */
const startAfterExit = (): Tell => {
  const held: Envelope[] = [];
  return (envelope, deliver) => {
    if (envelope.topic === '/tasks/start') held.push(envelope);
    else deliver(envelope);
    if (envelope.topic === '/tasks/exit') held.splice(0).forEach(deliver);
  };
};

/** Milliseconds in which an exec that does nothing has ended. */
const SOON = 300;

const startsOnlyWhatLasts: Calls = (real) => ({
  async start(scope, process) {
    const started = await real.start(scope, process);
    const ended = process.execId !== undefined && real.wait(scope, process).then(() => true);
    if (await Promise.race([ended, delay(SOON, false)])) throw notFound(`process "${process.execId}" has ended`);
    return started;
  },
});

const startsOfTheDeadSucceed: Calls = (real) => ({
  start: (scope, process) =>
    real.start(scope, process).catch((error: unknown) => {
      if (process.execId === undefined) throw error;
      return { pid: 1 };
    }),
});

/** For a while after the deletion of an exec, nobody is told the state of its task. */
const deletionsHoldUp: Calls = (real) => {
  let free: Promise<unknown> = Promise.resolve();
  return {
    async delete(scope, process) {
      if (process.execId) free = delay(2 * PATIENCE, undefined, { ref: false });
      return real.delete(scope, process);
    },
    async state(...asked) {
      await free;
      return real.state(...asked);
    },
  };
};

export const runtimeMutants: readonly Mutant<RuntimeSubject>[] = [
  mutant('exit statuses have seven bits', /tells every kind of end/, { calls: statusOfSevenBits }),
  mutant('the status of an exec is lost', /runs a further process with streams and a status/, {
    calls: execsAlwaysSucceed,
  }),
  mutant('the time of an exit is lost', /goes through its states/, { calls: stateChanged(withoutTime) }),
  mutant('what has stopped is said to run', /goes through its states/, { calls: stateChanged(runningForEver) }),
  mutant('a deletion kills what runs', /goes through its states/, { calls: deletionKills }),
  mutant('what was started can be started again', /goes through its states/, { calls: startedAgain }),
  mutant('stdout and stderr are swapped', /runs a process, tells its output/, { calls: outputsSwapped }),
  mutant('input is never closed', /passes input on, and its end/, { calls: () => ({ closeStdin: async () => {} }) }),
  mutant('a pause stops nothing', /pauses and resumes/, { calls: () => ({ pause: async () => {} }) }),
  mutant('a signal for all reaches init alone', /sends any signal to every process/, {
    calls: (real) => ({ kill: (scope, process, signal) => real.kill(scope, process, signal) }),
  }),
  mutant('a signal for an exec reaches init', /is killed alone/, {
    calls: (real) => ({ kill: (scope, { id }, signal, all) => real.kill(scope, { id }, signal, all) }),
  }),
  mutant('a start is told after the exit', /pull\/9828/, { tell: startAfterExit }),
  mutant('an exec that ended at once was not started', /issues\/716/, { calls: startsOnlyWhatLasts }),
  mutant('an exec of a task that has ended can be started', /pull\/10634/, { calls: startsOfTheDeadSucceed }),
  mutant('to kill what has ended succeeds', /issues\/999/, {
    calls: (real) => ({ kill: (...asked) => real.kill(...asked).catch(instead('NOT_FOUND', () => undefined)) }),
  }),
  mutant('the deletion of an exec holds up others', /pull\/2624/, { calls: deletionsHoldUp }),
  mutant('any number is a signal', /refuses signals that do not exist/, { calls: signalsUnchecked }),
  mutant('a task has no pids', /is told apart among the pids/, { calls: () => ({ pids: async () => [] }) }),
  mutant('every namespace sees every task', /keeps namespaces apart/, {
    calls: (real) => ({ state: (_, process) => real.state(scope, process) }),
  }),
  mutant('a restart forgets its tasks', /finds its tasks again/, { calls: tasksForgottenByRestart }),
  mutant('an exit is told twice', /publishes create, start, exit and delete, once each/, {
    tell: () => onExit((_, envelope, deliver) => [envelope, envelope].forEach(deliver)),
  }),
  mutant('the event of an exit tells no status', /publishes create, start, exit and delete/, {
    tell: exitWithoutStatus,
  }),
  mutant('events are told in another namespace', /publishes create, start, exit and delete/, {
    tell: () => (envelope, deliver) => deliver({ ...envelope, namespace: 'default' }),
  }),
  mutant('the exit of init is told before those of execs', /ends with the task, its exit told first/, {
    tell: exitOfInitFirst,
  }),
];
