/** A daemon that runs out of file descriptors: fault 38 of docs/reliability.md, which plugins/runtime-runc has for the supervisor. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { codeOf } from '../../kernel/errors.js';
import { specOf } from '../conformance/container.js';
import { succeed } from '../harness/command.js';
import { eventually } from '../harness/eventually.js';
import { World } from './tasks-world.js';

const COUNT = 10;
const SIGKILL = 9;

describe('a daemon with few descriptors', () => {
  it('refuses call by call, loses none, and recovers', async () => {
    await using world = await World.open('few');
    const { containers, tasks } = world.client;
    const mount = { ...world.rootfs, options: [...world.rootfs.options] };
    const ids = Array.from({ length: COUNT }, (_, n) => `few${n}`);
    const make = (id: string) => tasks.create({ containerId: id, rootfs: [mount] });
    const end = async (id: string): Promise<void> => {
      await tasks.start({ containerId: id });
      await tasks.kill({ containerId: id, signal: SIGKILL });
      assert.equal((await tasks.wait({ containerId: id })).exitStatus, 128 + SIGKILL);
      await tasks.delete({ containerId: id });
    };
    for (const id of ids) {
      const spec = specOf(world.namespace, id, 'exec sleep 600');
      await containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
    }
    await make('few0');
    const { pid } = world.daemon;
    const open = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const allow = (count: number) => succeed('prlimit', ['--pid', String(pid), `--nofile=${count}:`]);
    const before = open();
    await allow(0);
    const refused = await Promise.allSettled(ids.slice(1).map(make));
    for (const answer of refused) {
      assert.equal(answer.status, 'rejected');
      assert.equal(codeOf(answer.reason), 'RESOURCE_EXHAUSTED', String(answer.reason));
    }
    assert.deepEqual(
      (await tasks.list({})).tasks.map(({ id }) => id),
      ['few0'],
      'it goes on answering',
    );
    await allow(1024);
    for (const id of ids.slice(1)) await make(id);
    for (const id of ids) await end(id);
    await eventually('descriptors are back', () => open() <= before || undefined);
    for (const id of ids) await containers.delete({ id });
  });
});
