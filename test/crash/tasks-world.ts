/** A daemon that is killed again and again, its supervisor too, and a client that copes. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskExit } from '../../api/gen/events/task.js';
import { type Client, connect } from '../../client/index.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { codeOf } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';
import { makeFifo } from '../../lib/linux/fifo.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import { busyboxRootfs } from '../conformance/container.js';
import { Daemon } from '../harness/daemon.js';
import { supervisorsBelow } from '../harness/runc.js';
import type { Plan, Strike } from './tasks-plan.js';

/** One exit event as a subscriber saw it. */
export interface SeenExit {
  readonly pid: number;
  readonly exitStatus: number;
  readonly exitedAt: bigint;
  /** Which subscription it came by. */
  readonly subscription: number;
}

/** A FIFO in the root filesystem that nobody writes to: reading it with a timeout is a sleep that starts no process. */
export const IDLE = '/idle';

/** Machines that run tests are busy: the subscriber may take longer to come back than most. */
const CONFIG = '[plugins.runtime-runc.config]\nevent_grace = 5\n';

const FILTERS = ['topic=="/tasks/exit"'];

export class World implements AsyncDisposable {
  readonly daemon: Daemon;
  readonly namespace: string;
  readonly rootfs: Mount;
  /** Exit events by `container/process`. */
  readonly exits = new Map<string, SeenExit[]>();
  readonly #over = new AbortController();
  readonly #listening: Promise<void>;
  /** Resolves while the daemon is up; a new one for each time it is down. */
  #up: Promise<void> = Promise.resolve();
  #back: () => void = () => {};
  #subscriptions = 0;
  #supervisorsKilled = 0;
  /** One for each life of the daemon: a connection that failed waits before it tries again. */
  readonly #clients: Client[] = [];

  private constructor(daemon: Daemon, namespace: string, rootfs: Mount) {
    this.daemon = daemon;
    this.namespace = namespace;
    this.rootfs = rootfs;
    this.#connect();
    this.#listening = this.#listen();
  }

  /** `config`: of the daemon. */
  static async open(name: string, config = CONFIG): Promise<World> {
    const daemon = await Daemon.start({ kind: 'keelsond', config });
    const rootfs = await busyboxRootfs(join(daemon.directory, 'busybox'));
    makeFifo(join(daemon.directory, 'busybox', IDLE));
    await mkdir(join(daemon.directory, 'fifos'));
    const namespace = `${name}-${process.pid}`;
    // Its harness looks for control groups of the namespaces it knows.
    daemon.ctr(namespace);
    return new World(daemon, namespace, rootfs);
  }

  get client(): Client {
    const client = this.#clients.at(-1);
    assert.ok(client);
    return client;
  }

  /** How many supervisors were killed so far. */
  get supervisorsKilled(): number {
    return this.#supervisorsKilled;
  }

  #connect(): void {
    this.#clients.push(connect({ address: this.daemon.address, namespace: this.namespace }));
  }

  async #listen(): Promise<void> {
    while (!this.#over.signal.aborted) {
      await this.#up;
      const subscription = this.#subscriptions++;
      try {
        const events = this.client.events.subscribe({ filters: FILTERS }, { signal: this.#over.signal });
        for await (const { event } of events) {
          if (event === undefined || !isAny(TaskExit, event)) continue;
          const { containerId, id, pid, exitStatus, exitedAt } = unpackAny(TaskExit, event);
          const seen = this.exits.get(`${containerId}/${id}`) ?? [];
          seen.push({ pid, exitStatus, exitedAt: fromTimestamp(exitedAt), subscription });
          this.exits.set(`${containerId}/${id}`, seen);
        }
      } catch (error) {
        if (!isLoss(error) && !this.#over.signal.aborted) throw error;
        await delay(5);
      }
    }
  }

  /** Resolves once the daemon is there, at once when it is. */
  async ready(): Promise<void> {
    await this.#up;
  }

  /** Kills whom the plan names, and starts the daemon again if it was among them. */
  async strike(plan: Plan): Promise<void> {
    await this.kill(plan);
    if (plan.victim === 'supervisor') return;
    await delay(plan.down);
    await this.startAgain();
  }

  async kill({ victim, apart, daemonFirst }: Strike): Promise<void> {
    const daemon = async (): Promise<void> => {
      const back = Promise.withResolvers<void>();
      this.#up = back.promise;
      this.#back = back.resolve;
      await this.daemon.kill();
    };
    const supervisor = (): Promise<void> => this.#killSupervisor();
    const both = daemonFirst ? [daemon, supervisor] : [supervisor, daemon];
    const [first, second] = victim === 'both' ? both : [victim === 'daemon' ? daemon : supervisor];
    await first?.();
    if (second === undefined) return;
    await delay(apart);
    await second();
  }

  /** SIGTERM, and waits for the end. */
  async stop(): Promise<void> {
    const back = Promise.withResolvers<void>();
    this.#up = back.promise;
    this.#back = back.resolve;
    await this.daemon.stop();
  }

  async startAgain(): Promise<void> {
    await this.daemon.start();
    this.#connect();
    this.#back();
  }

  async #killSupervisor(): Promise<void> {
    for (const pid of await supervisorsBelow(this.daemon.directory)) {
      try {
        process.kill(pid, 'SIGKILL');
        this.#supervisorsKilled++;
      } catch (error) {
        // One that has nothing to do ends by itself.
        if (!isErrno(error, 'ESRCH')) throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#listening;
    for (const client of this.#clients) client[Symbol.dispose]();
    await this.daemon[Symbol.asyncDispose]();
  }
}

/** The call, or its answer, may have been lost with the daemon or the supervisor. */
export const isLoss = (error: unknown): boolean => codeOf(error) === 'UNAVAILABLE';

/** Milliseconds in which everything must have come to its end, kills included. */
const PATIENCE = 30_000;

/**
 * Makes a call until its answer arrives. `repeated`: an earlier attempt may
 * have been carried out though its answer was lost.
 */
export async function insist<T>(world: World, what: string, call: (repeated: boolean) => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE;
  for (let repeated = false; ; repeated = true) {
    await world.ready();
    try {
      return await call(repeated);
    } catch (error) {
      if (!isLoss(error)) throw new Error(`${what}: ${codeOf(error)}: ${error}`, { cause: error });
      if (performance.now() > deadline) assert.fail(`${what}: not within ${PATIENCE} ms: ${error}`);
      await delay(2);
    }
  }
}
