/** Which tasks share a supervisor, and what a further container costs. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import type { NewTask } from '../../kernel/contracts/runtime.js';
import { withAnnotations } from '../../lib/oci/runtime-spec.js';
import { scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { Background } from '../../test/harness/command.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

const GROUP = 'io.containerd.runc.v2.group';
const SANDBOX = 'io.kubernetes.cri.sandbox-id';

const skip = (await runcSubject().unavailable()) ?? false;

async function parentOf(pid: number): Promise<number> {
  const [, parent = ''] = /^PPid:\s+(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(parent);
}

type Annotations = Readonly<Record<string, string>>;

/** A task with these annotations; its process id, whose parent is what watches over it. */
async function start(bench: Workbench, annotations: Annotations, more: Partial<NewTask> = {}): Promise<number> {
  const id = bench.freshId();
  const request = bench.request(id, 'sleep 600', { changes: [withAnnotations(annotations)] });
  await bench.runtime.create(scope, { ...request, ...more });
  return (await bench.runtime.start(scope, { id })).pid;
}

describe('a pod', { skip }, () => {
  it('has a supervisor of its own, by whichever name its containers give it', async () => {
    await using bench = await Workbench.open(runcSubject({ grouping: 'pod' }));
    const first = [
      await start(bench, { [GROUP]: 'one' }),
      await start(bench, { [SANDBOX]: 'one' }),
      await start(bench, { [GROUP]: 'one', [SANDBOX]: 'two' }),
      await start(bench, { [GROUP]: '', [SANDBOX]: 'one' }),
      await start(bench, {}, { sandbox: 'one' }),
    ];
    const second = [await start(bench, { [SANDBOX]: 'two' }), await start(bench, { [GROUP]: 'two' })];
    const alone = [await start(bench, {}), await start(bench, { 'io.kubernetes.cri.sandbox-name': 'one' })];
    const groups = async (): Promise<number[][]> =>
      Promise.all([first, second, ...alone.map((pid) => [pid])].map((pids) => Promise.all(pids.map(parentOf))));

    const before = await groups();
    for (const parents of before) assert.equal(new Set(parents).size, 1, `one supervisor: ${parents.join(' ')}`);
    const supervisors = before.map(([parent = 0]) => parent);
    assert.deepEqual([...supervisors].sort(), (await supervisorsBelow(bench.work)).sort());
    assert.equal(new Set(supervisors).size, 4);

    await bench.restart();
    const created = await start(bench, { [SANDBOX]: 'one' });
    assert.equal(await parentOf(created), supervisors[0], 'the next daemon knows them too');

    const [killed = 0, ...others] = supervisors;
    process.kill(killed, 'SIGKILL');
    let after: readonly number[] = [];
    await until('another one for the first pod', async () => {
      after = await supervisorsBelow(bench.work);
      return after.length === 4 && !after.includes(killed);
    });
    assert.deepEqual(
      others.filter((pid) => !after.includes(pid)),
      [],
      'of other pods none is touched',
    );
  });

  it('is nothing to a supervisor of a namespace', async () => {
    await using bench = await Workbench.open(runcSubject({ grouping: 'namespace' }));
    const tasks = [await start(bench, { [GROUP]: 'one' }), await start(bench, { [SANDBOX]: 'two' })];
    assert.deepEqual(await Promise.all(tasks.map(parentOf)), [
      ...(await supervisorsBelow(bench.work)),
      ...(await supervisorsBelow(bench.work)),
    ]);
  });
});

interface Execution {
  readonly path: string;
  readonly line: string;
}

/** Every program that these processes, or any that come from them, execute while the work is done. */
async function executions(pids: readonly number[], work: () => Promise<void>): Promise<Execution[]> {
  const targets = pids.flatMap((pid) => ['-p', String(pid)]);
  const flags = ['-f', '-s', '200', '-e', 'trace=execve,execveat', '-e', 'signal=none'];
  await using strace = new Background('strace', [...flags, ...targets]);
  for (const pid of pids) await strace.stderr.until(new RegExp(`Process ${pid} attached`));
  await work();
  const { stderr } = await strace.stop('SIGINT');
  return [...stderr.matchAll(/execve(?:at)?\((?:\d+, )?"([^"]*)".*$/gm)].map(([line, path = '']) => ({ path, line }));
}

describe('a further container', { skip }, () => {
  it('takes one run of the OCI runtime, and no other process but its own', async () => {
    await using bench = await Workbench.open(runcSubject());
    // Whatever is done once, such as asking the runtime for its version, is done by then.
    await using places = new AsyncDisposableStack();
    const keep = await bench.run('sleep 600');
    places.defer(() => keep.end());
    const [supervisor = 0] = await supervisorsBelow(bench.work);
    const seen = await executions([process.pid, supervisor], async () => {
      const task = await bench.run('exit 5');
      assert.equal(await task.wait(), 5);
      await task.delete();
    });
    const isOwn = ({ path }: Execution): boolean => /^\/bin\/sh$/.test(path);
    // The runtime runs itself again, as init, from a copy that containers cannot change.
    const isAgain = ({ path }: Execution): boolean => path === '' || path.startsWith('/proc/self/');
    const others = seen.filter((execution) => !isOwn(execution) && !isAgain(execution));
    const lines = seen.map(({ line }) => line).join('\n');
    assert.equal(seen.filter(isOwn).length, 1, lines);
    assert.deepEqual(
      others.map(({ path, line }) => [path, / "(create|start)", /.exec(line)?.[1]]),
      [['/usr/sbin/runc', 'create']],
    );
  });
});
