/** The life of one container, as a client sees it that survives the loss of whom it talks to. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskStatus } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { Fifos, processOf, Reader, specOf } from '../conformance/container.js';
import { inTime } from '../conformance/runtime.workbench.js';
import type { LifePlan, Moment } from './tasks-plan.js';
import { IDLE, insist, type World } from './tasks-world.js';

/** Called when a moment of the life begins. */
export type OnMoment = (moment: Moment) => void;

const EXEC = 'e';
/** Of a process of which nobody can tell any more how it ended. */
const UNKNOWN_EXIT = 255;

/** Counts, and exits at a sign: a file. */
const counter = ({ count, exitStatus }: LifePlan, sign: string): string =>
  `exec 3<>${IDLE}; i=0
while [ $i -lt ${count} ]; do echo $i; i=$((i+1)); read -t 0.005 x <&3; done
while [ ! -e /${sign} ]; do read -t 0.005 x <&3; done
exit ${exitStatus}`;

const execScript = ({ execMillis, execStatus }: LifePlan): string =>
  `exec 3<>${IDLE}; read -t 0.${String(execMillis).padStart(3, '0')} x <&3; exit ${execStatus}`;

const counted = (to: number): string => Array.from({ length: to }, (_, i) => `${i}\n`).join('');

export class Life {
  readonly #world: World;
  readonly #id: string;
  readonly #plan: LifePlan;
  readonly #onMoment: OnMoment;
  /** The supervisor was killed while the exec was started: perhaps before it knew the process. */
  #execMayBeLost = false;

  constructor(world: World, id: string, plan: LifePlan, onMoment: OnMoment) {
    this.#world = world;
    this.#id = id;
    this.#plan = plan;
    this.#onMoment = onMoment;
  }

  /** Processes that ran: each must have one exit event. */
  get processes(): { readonly key: string; readonly exitStatus: readonly number[] }[] {
    const { exitStatus, execStatus } = this.#plan;
    const exec = {
      key: `${this.#id}/${EXEC}`,
      exitStatus: this.#execMayBeLost ? [execStatus, UNKNOWN_EXIT] : [execStatus],
    };
    return [{ key: `${this.#id}/${this.#id}`, exitStatus: [exitStatus] }, exec];
  }

  async live(): Promise<void> {
    const { namespace } = this.#world;
    const id = this.#id;
    const fifos = await Fifos.make(join(this.#world.daemon.directory, 'fifos', id));
    const spec = specOf(namespace, id, counter(this.#plan, `exit-${id}`));
    const container = { id, runtime: { name: 'io.containerd.runc.v2' }, spec };
    await this.#insist('container', (repeated) =>
      allow(repeated, 'ALREADY_EXISTS', this.#world.client.containers.create({ container })),
    );
    this.#onMoment('create');
    await this.#create(fifos);
    const reader = new Reader(fifos.stdout);
    this.#onMoment('start');
    await this.#start('');
    this.#onMoment('exec');
    await this.#exec();
    this.#onMoment('running');
    await reader.until((text) => text.split('\n').length > this.#plan.count);
    this.#onMoment('exit');
    await delay(this.#plan.linger);
    await writeFile(join(this.#world.daemon.directory, 'busybox', `exit-${id}`), '');
    assert.equal(await this.#wait(''), this.#plan.exitStatus, `exit status of ${id}`);
    assert.equal(await inTime(`end of output of ${id}`, reader.all()), counted(this.#plan.count), `output of ${id}`);
    this.#onMoment('delete');
    await this.#delete();
    await rm(join(this.#world.daemon.directory, 'fifos', id), { recursive: true });
  }

  #insist<T>(what: string, call: (repeated: boolean) => Promise<T>): Promise<T> {
    return insist(this.#world, `${what} of ${this.#id}`, call);
  }

  async #create({ output }: Fifos): Promise<void> {
    const { rootfs } = this.#world;
    const mount = { ...rootfs, options: [...rootfs.options] };
    const request = { containerId: this.#id, rootfs: [mount], ...output };
    await this.#insist('create', (repeated) =>
      allow(repeated, 'ALREADY_EXISTS', this.#world.client.tasks.create(request)),
    );
    assert.equal(await this.#status(''), TaskStatus.CREATED, `${this.#id} is created`);
  }

  async #status(execId: string): Promise<TaskStatus> {
    const { process } = await this.#insist('state', () =>
      this.#world.client.tasks.get({ containerId: this.#id, execId }),
    );
    return process?.status ?? TaskStatus.UNKNOWN;
  }

  async #start(execId: string): Promise<void> {
    await this.#insist(`start ${execId}`, async (repeated) => {
      if (repeated && (await this.#status(execId)) !== TaskStatus.CREATED) return;
      await this.#world.client.tasks.start({ containerId: this.#id, execId });
    });
  }

  async #exec(): Promise<void> {
    const spec = processOf(execScript(this.#plan));
    const request = { containerId: this.#id, execId: EXEC, spec };
    await this.#insist('exec', (repeated) => allow(repeated, 'ALREADY_EXISTS', this.#world.client.tasks.exec(request)));
    const killed = this.#world.supervisorsKilled;
    await this.#insist('start of the exec', async (repeated) => {
      this.#execMayBeLost ||= repeated && this.#world.supervisorsKilled > killed;
      if (repeated && (await this.#status(EXEC)) !== TaskStatus.CREATED) return;
      await this.#world.client.tasks.start({ containerId: this.#id, execId: EXEC });
    });
    const status = await this.#wait(EXEC);
    if (!(this.#execMayBeLost && status === UNKNOWN_EXIT)) {
      assert.equal(status, this.#plan.execStatus, `exit status of the exec of ${this.#id}`);
    }
  }

  async #wait(execId: string): Promise<number> {
    const wait = (): Promise<{ exitStatus: number }> =>
      this.#world.client.tasks.wait({ containerId: this.#id, execId });
    return (await this.#insist(`wait ${execId}`, wait)).exitStatus;
  }

  async #delete(): Promise<void> {
    const deleted = await this.#insist('delete', (repeated) =>
      allow(repeated, 'NOT_FOUND', this.#world.client.tasks.delete({ containerId: this.#id })),
    );
    if (deleted)
      assert.equal(deleted.exitStatus, this.#plan.exitStatus, `exit status in the answer to the delete of ${this.#id}`);
    await this.#insist('container', (repeated) =>
      allow(repeated, 'NOT_FOUND', this.#world.client.containers.delete({ id: this.#id })),
    );
  }
}

/** The answer; undefined for an error that says a lost attempt was carried out. */
async function allow<T>(
  repeated: boolean,
  code: 'ALREADY_EXISTS' | 'NOT_FOUND',
  call: Promise<T>,
): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (repeated && hasCode(error, code)) return undefined;
    throw error;
  }
}
