/** Containers of many and short-lived processes: attacks 83 and 84 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ControlGroup } from '../../lib/cgroups/group.js';
import { isErrno } from '../../lib/errno.js';
import { type Change, withMemoryLimit, withPidsLimit } from '../../lib/oci/runtime-spec.js';
import { inTime, scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

const skip = (await runcSubject().unavailable()) ?? false;

const SIGTERM = 15;
const SIGKILL = 9;
const MEBIBYTE = 1 << 20;

/** Orphans of the container become children of whoever watches over it, instead of its init process's. */
const withHostPids: Change = (spec) => ({
  ...spec,
  linux: { ...spec.linux, namespaces: spec.linux.namespaces.filter(({ type }) => type !== 'pid') },
});

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}

/** Children of a process that have ended and were not reaped. */
function zombiesOf(parent: number): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  return pids.filter((pid) => {
    const status = statusOf(pid);
    return status.includes('State:\tZ') && status.includes(`PPid:\t${parent}\n`);
  });
}

/** How many processes the control group of a process has, dead ones that nobody reaped included. */
function countIn(pid: number): number {
  const directory = ControlGroup.of(pid)?.directory('pids') ?? assert.fail(`no control group of ${pid}`);
  return Number(readFileSync(join(directory, 'pids.current'), 'utf8'));
}

async function supervisorOf(bench: Workbench): Promise<number> {
  const [pid] = await supervisorsBelow(bench.work);
  return pid ?? assert.fail('no supervisor');
}

describe('a container', { skip }, () => {
  it('that forks all it may holds up nobody, and ends when it is killed', async () => {
    await using bench = await Workbench.open(runcSubject());
    const limit = 100;
    // Its init process reaps nobody: what has been forked counts until the end.
    const bomb = '(while :; do sleep 600 & done) 2>/dev/null & exec sleep 600';
    const task = await bench.run(bomb, { changes: [withPidsLimit(limit)] });
    await until('it has forked all it may', () => countIn(task.pid) === limit);
    assert.deepEqual(await bench.output('echo others; exit 4'), { stdout: 'others\n', stderr: '', status: 4 });
    assert.equal(await task.status(), 'running');
    await task.kill(SIGKILL);
    assert.equal(await task.wait(), 128 + SIGKILL);
    await task.delete();
    const supervisor = await supervisorOf(bench);
    await until('no zombie is left', () => zombiesOf(supervisor).length === 0);
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  });

  it('whose ten thousand orphans fall to the supervisor leaves no zombie, and no exit is missed', async () => {
    await using bench = await Workbench.open(runcSubject());
    const orphans = 10_000;
    const go = join(bench.work, 'busybox/go');
    // Each round is a child that leaves one of its own behind; the supervisor inherits that.
    const script = `while [ ! -e /go ]; do usleep 5000; done
      i=0; while [ $i -lt ${orphans} ]; do (true &); i=$((i+1)); done; exit 7`;
    const task = await bench.run(script, { changes: [withHostPids] });
    const supervisor = await supervisorOf(bench);
    await writeFile(go, '');
    const statuses = [11, 12, 13, 14];
    for (const status of statuses) assert.equal((await bench.output(`exit ${status}`)).status, status);
    assert.equal(
      await inTime('its end', bench.runtime.wait(scope, { id: task.id }), 120_000).then(({ exitStatus }) => exitStatus),
      7,
    );
    assert.equal(await task.delete(), 7);
    await until('no zombie is left', () => zombiesOf(supervisor).length === 0);
    assert.equal(await supervisorOf(bench), supervisor);
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  });

  it('that ends as soon as it has started tells its one true exit, fifty times', async () => {
    await using bench = await Workbench.open(runcSubject());
    for (let i = 0; i < 50; i++) {
      const task = await bench.run(`exit ${i}`);
      assert.equal(await task.wait(), i);
      assert.equal(await task.delete(), i);
      assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
      assert.deepEqual(
        bench.exits(task.id).map(({ exitStatus }) => exitStatus),
        [i],
      );
    }
  });

  it('whose execs race its end has one exit for each that started, its own last', async () => {
    await using bench = await Workbench.open(runcSubject());
    const execs = ['a', 'b', 'c'];
    for (let round = 0; round < 12; round++) {
      const task = await bench.run(`usleep ${round * 10_000}; exit 3`);
      const started = await Promise.all(
        execs.map(async (execId) => {
          try {
            await task.exec(execId, 'exit 4');
            await task.start(execId);
            return [execId];
          } catch {
            // The container was quicker.
            return [];
          }
        }),
      );
      assert.equal(await task.wait(), 3);
      assert.equal(await task.delete(), 3);
      await until('it is deleted', async () => (await bench.topics(task.id, 0)).includes('delete'));
      const exits = bench.exits(task.id);
      assert.deepEqual(exits.map(({ id }) => id).sort(), [...started.flat(), task.id].sort(), `round ${round}`);
      assert.equal(exits.at(-1)?.id, task.id, 'init comes last');
      assert.equal(exits.at(-1)?.exitStatus, 3);
      // Killed with the container, if it was quicker than they.
      for (const { exitStatus } of exits.slice(0, -1)) assert.ok([4, 128 + SIGKILL].includes(exitStatus));
    }
  });

  it('that is out of memory at once is told of, and has ended by SIGKILL, every time', async () => {
    await using bench = await Workbench.open(runcSubject());
    // The runtime's own init needs some of it.
    const changes = [withMemoryLimit(24 * MEBIBYTE)];
    for (let i = 0; i < 5; i++) {
      const task = await bench.run('exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null', { changes });
      assert.equal(await task.wait(), 128 + SIGKILL);
      await task.delete();
      const topics = await bench.topics(task.id, 5);
      assert.deepEqual(
        topics.filter((topic) => topic !== 'oom'),
        ['create', 'start', 'exit', 'delete'],
      );
      assert.ok(topics.includes('oom') && topics.indexOf('oom') < topics.indexOf('exit'), topics.join());
    }
  });

  it('that takes no notice of SIGTERM is ended by SIGKILL', async () => {
    await using bench = await Workbench.open(runcSubject());
    const fifos = await bench.fifos();
    const { stdout } = fifos.readers();
    const script = 'trap "echo ignored" TERM; echo ready; while :; do usleep 5000; done';
    const task = await bench.run(script, { streams: fifos.output });
    await until('it is ready', () => stdout.text === 'ready\n');
    await task.kill(SIGTERM);
    await until('it was told', () => stdout.text === 'ready\nignored\n');
    assert.equal(await task.status(), 'running');
    await task.kill(SIGKILL);
    assert.equal(await task.wait(), 128 + SIGKILL);
    await task.delete();
  });
});
