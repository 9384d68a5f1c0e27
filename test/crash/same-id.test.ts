/** Fifty clients that want the same id at once, and containers that are made side by side: attack 66 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { codeOf } from '../../kernel/errors.js';
import { withEnv } from '../../lib/oci/runtime-spec.js';
import { specOf } from '../conformance/container.js';
import { eventually } from '../harness/eventually.js';
import { World } from './tasks-world.js';

const CLIENTS = 50;
const ROUNDS = 5;
const SIGKILL = 9;
/** Milliseconds until each client has had its turn. */
const PATIENCE = 60_000;

/** The one who won, and the answers of those who did not, each once. */
async function race(work: (n: number) => Promise<unknown>): Promise<{ winners: number[]; codes: string[] }> {
  const answers = await Promise.allSettled(Array.from({ length: CLIENTS }, (_, n) => work(n)));
  const winners = answers.flatMap(({ status }, n) => (status === 'fulfilled' ? [n] : []));
  const codes = answers.flatMap((answer) => (answer.status === 'rejected' ? [String(codeOf(answer.reason))] : []));
  return { winners, codes: [...new Set(codes)].sort() };
}

describe(`${CLIENTS} clients at once`, () => {
  it('make, start, end and remove one container: each has one winner, the others are told', async () => {
    await using world = await World.open('same');
    const { namespace, client, rootfs } = world;
    const { containers, tasks } = client;
    const id = 'same';
    const runtime = { name: 'io.containerd.runc.v2' };
    const script = 'exec sleep $MINE';
    for (let round = 0; round < ROUNDS; round++) {
      const secondsOf = (n: number): string => String(1000 + 100 * round + n);
      const create = (n: number): Promise<unknown> => {
        const spec = specOf(namespace, id, script, withEnv([`MINE=${secondsOf(n)}`]));
        return containers.create({ container: { id, runtime, spec } });
      };
      const made = await race(create);
      assert.deepEqual([made.winners.length, made.codes], [1, ['ALREADY_EXISTS']]);
      const mount = { ...rootfs, options: [...rootfs.options] };
      const created = await race(() => tasks.create({ containerId: id, rootfs: [mount] }));
      assert.deepEqual([created.winners.length, created.codes], [1, ['ALREADY_EXISTS']]);
      const started = await race(() => tasks.start({ containerId: id }));
      assert.deepEqual([started.winners.length, started.codes], [1, ['FAILED_PRECONDITION']]);
      const { process } = await tasks.get({ containerId: id });
      const [winner = -1] = made.winners;
      // A start is over when nothing holds up the container's program any more: the kernel has yet to execute it.
      const isRecorded = async (): Promise<true | undefined> =>
        `\0${await readFile(`/proc/${process?.pid}/environ`, 'utf8')}`.includes(`\0MINE=${secondsOf(winner)}\0`) ||
        undefined;
      await eventually('the environment that was recorded', isRecorded);
      await tasks.kill({ containerId: id, signal: SIGKILL });
      assert.equal((await tasks.wait({ containerId: id })).exitStatus, 128 + SIGKILL);
      const ended = await race(() => tasks.delete({ containerId: id }));
      assert.deepEqual([ended.winners.length, ended.codes], [1, ['NOT_FOUND']]);
      const removed = await race(() => containers.delete({ id }));
      assert.deepEqual([removed.winners.length, removed.codes], [1, ['NOT_FOUND']]);
    }
  });

  it('have the same id in turn: none finds what is left of another', async () => {
    await using world = await World.open('turns');
    const { namespace, client, rootfs } = world;
    const { containers, tasks } = client;
    const id = 'turns';
    /** Whether the container could be made; from then on it is this client's, until it removes it. */
    const take = async (n: number): Promise<boolean> => {
      const spec = specOf(namespace, id, `exit ${n}`);
      try {
        await containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
        return true;
      } catch (error) {
        assert.equal(codeOf(error), 'ALREADY_EXISTS');
        return false;
      }
    };
    const live = async (n: number): Promise<void> => {
      await tasks.create({ containerId: id, rootfs: [{ ...rootfs, options: [...rootfs.options] }] });
      await tasks.start({ containerId: id });
      assert.equal((await tasks.wait({ containerId: id })).exitStatus, n);
      assert.equal((await tasks.delete({ containerId: id })).exitStatus, n);
      await containers.delete({ id });
    };
    await Promise.all(
      Array.from({ length: CLIENTS }, async (_, n) => {
        await eventually(`the turn of client ${n}`, async () => ((await take(n)) ? true : undefined), PATIENCE);
        await live(n);
      }),
    );
    assert.deepEqual([(await tasks.list({})).tasks, (await containers.list({})).containers], [[], []]);
  });

  it('make containers of one root filesystem: each sees its own environment', async () => {
    await using world = await World.open('environment');
    const { namespace, client, rootfs, daemon } = world;
    const { containers, tasks } = client;
    const ids = Array.from({ length: CLIENTS }, (_, n) => `own${n}`);
    await Promise.all(
      ids.map(async (id) => {
        const spec = specOf(namespace, id, `env >/env-${id}`, withEnv([`OWN_${id}=${id}`, `SHARED=${id}`]));
        await containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
        await tasks.create({ containerId: id, rootfs: [{ ...rootfs, options: [...rootfs.options] }] });
        await tasks.start({ containerId: id });
        assert.equal((await tasks.wait({ containerId: id })).exitStatus, 0, id);
        await tasks.delete({ containerId: id });
        await containers.delete({ id });
      }),
    );
    for (const id of ids) {
      const text = await readFile(join(daemon.directory, 'busybox', `env-${id}`), 'utf8');
      assert.deepEqual(
        text
          .split('\n')
          .filter((line) => /^OWN_|^SHARED=/.test(line))
          .sort(),
        [`OWN_${id}=${id}`, `SHARED=${id}`],
      );
    }
  });
});
