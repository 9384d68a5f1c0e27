/** Our own `dist` and `ctr` do the whole job: pull, run, look at, end and remove. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ctr, eventually, type Outcome, run } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const { daemon, host, image, own } = await startWorld(['busybox', 'node'], { kind: 'keelsond' });
const program = (name: string): string => fileURLToPath(new URL(`../../../bin/${name}`, import.meta.url));
const fifos = ['--fifo-dir', join(daemon.directory, 'fifo')];

for (const snapshotter of SNAPSHOTTERS) {
  describe(`dist and ctr on ${snapshotter}`, () => suite(snapshotter));
}

function suite(snapshotter: Snapshotter): void {
  const namespace = own(`own-${snapshotter}`);
  daemon.ctr(namespace); // its control groups are looked after at the end
  const ctr = new Ctr({ address: daemon.address, namespace, program: program('ctr') });
  const dist = new Ctr({ address: daemon.address, namespace, program: program('dist') });

  test('dist pull shows every layer and ends with the name and digest; images ls lists it', async () => {
    const output = await dist.ok('pull', '--plain-http', '--snapshotter', snapshotter, image.busybox);
    assert.match(output, /sha256:[0-9a-f]{12}/);
    assert.match(output.trimEnd().split('\n').at(-1) ?? '', new RegExp(`^${image.busybox} sha256:[0-9a-f]{64}$`));
    assert.ok((await dist.ok('images', 'ls')).includes(image.busybox));
  });

  test('on a terminal, dist pull shows its progress in place', async () => {
    const running = dist.startInTerminal('pull', '--plain-http', '--snapshotter', snapshotter, image.node);
    const { stdout, code } = await running.end();
    assert.equal(code, 0, stdout);
    assert.ok(stdout.includes('\x1b['), 'lines are rewritten');
    assert.match(stdout, /layer/);
  });

  test('ctr run --id NAME -t gives a shell on a terminal, and its exit code', async () => {
    const args = ['run', '--rm', '--snapshotter', snapshotter, ...fifos, '--id', 'redis', '-t', image.busybox];
    const running = ctr.startInTerminal(...args);
    await running.stdout.until(/[#$] /);
    running.write('tty; echo "pid $$"\n');
    await running.stdout.until(/\/dev\/pts\/\d+\r+\npid 1\r/);
    running.write('exit 7\n');
    assert.equal((await running.end()).code, 7);
    assert.equal(await ctr.ok('containers', '--quiet'), '');
  });

  test('ctr run passes output and the exit code, of the command of the image or another one', async () => {
    const flags = ['run', '--rm', '--snapshotter', snapshotter, ...fifos];
    assert.equal(await ctr.ok(...flags, image.node, 'default'), `${process.version}\n`);
    const { stdout, stderr, code } = await ctr.run(
      [
        ...[...flags, '--env', 'A=1', '--user', 'alice', '--cwd', '/tmp', image.busybox, 'other'],
        ...['sh', '-c', 'echo $A $(id -u) $(pwd); echo err >&2; cat; exit 3'],
      ],
      { input: 'typed\n' },
    );
    assert.deepEqual({ stdout, stderr, code }, { stdout: '1 1000 /tmp\ntyped\n', stderr: 'err\n', code: 3 });
  });

  test('a container in the background: list, info, exec, events, pause, kill, delete', async () => {
    const listener = ctr.start('events');
    await eventually('the subscription stands', async () => {
      await debianCtr('namespaces', 'create', `${namespace}-knock`);
      await debianCtr('namespaces', 'rm', `${namespace}-knock`);
      return listener.stdout.text.includes('-knock') || undefined;
    });
    const script = 'trap "exit 9" TERM; echo started; while :; do sleep 0.05; done';
    const flags = ['run', '-d', '--snapshotter', snapshotter, ...fifos, '--label', 'a=1'];
    await ctr.ok(...flags, image.busybox, 'back', 'sh', '-c', script);
    assert.match(await ctr.ok('list'), /^back +\d+ +RUNNING$/m);
    const info = JSON.parse(await ctr.ok('info', 'back'));
    assert.match(JSON.stringify(info), new RegExp(`"${image.busybox}"`));
    assert.match(await ctr.ok('ps', 'back'), /^\d+/m);

    const executed = await ctr.run(['exec', ...fifos, 'back', 'sh', '-c', 'echo in; exit 4']);
    assert.deepEqual([executed.stdout, executed.code], ['in\n', 4]);
    await ctr.ok('pause', 'back');
    assert.match(await ctr.ok('list'), /^back +\d+ +PAUSED$/m);
    await ctr.ok('resume', 'back');

    await ctr.ok('kill', 'back');
    await eventually('the task has ended', async () => /^back +\d+ +STOPPED$/m.test(await ctr.ok('list')) || undefined);
    await ctr.ok('delete', 'back');
    assert.equal(await ctr.ok('list', '--quiet'), '');
    assert.equal(await ctr.ok('containers', '--quiet'), '');
    await listener.stdout.until(/\/containers\/delete/);
    const topics = [...(await listener.stop()).stdout.matchAll(/ (\/(?:tasks|containers)\/[a-z-]+)/g)].map(
      ([, topic]) => topic,
    );
    for (const topic of ['/containers/create', '/tasks/start', '/tasks/exec-started', '/tasks/paused', '/tasks/exit']) {
      assert.ok(topics.includes(topic), `${topic} in ${topics.join(' ')}`);
    }
  });

  test('attach connects again; delete --force ends what runs', async () => {
    const script = 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.05; done';
    const flags = ['run', '-d', '--snapshotter', snapshotter, ...fifos];
    await ctr.ok(...flags, image.busybox, 'counter', 'sh', '-c', script);
    await using attached = ctr.start('attach', 'counter');
    await attached.stdout.until(/count \d+\ncount \d+\n/);
    await ctr.ok('delete', '--force', 'counter');
    assert.equal(await ctr.ok('containers', '--quiet'), '');
  });

  test('address and namespace come from the environment too', async () => {
    const env = { CONTAINERD_ADDRESS: daemon.address, CONTAINERD_NAMESPACE: namespace };
    const listed = (name: string, ...args: readonly string[]): Promise<Outcome> => run(program(name), args, { env });
    assert.ok((await listed('dist', 'images', 'ls')).stdout.includes(image.busybox));
    assert.match((await listed('ctr', 'version')).stdout, /Server: \S+/);
    assert.match((await listed('ctr', 'plugins')).stdout, /io\.containerd\.snapshotter\.v1 +overlayfs/);
  });

  test('failures are one line that names what is wrong', async () => {
    const missing = await dist.fails(
      'pull',
      '--plain-http',
      '--snapshotter',
      snapshotter,
      `${host}/test/missing:latest`,
    );
    assert.match(missing, /^dist: .*test\/missing:latest.*\n$/);
    assert.match(
      await ctr.fails('run', ...fifos, 'example.com/none:1', 'x'),
      /^ctr: .*example\.com\/none:1.*not found.*\n$/,
    );
    assert.match(await ctr.fails('info', 'nobody'), /^ctr: .*nobody.*not found.*\n$/);
    const nowhere = await run(program('ctr'), ['--address', '/nowhere/d.sock', 'list']);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^ctr: .*\/nowhere\/d\.sock.*\n$/);
  });

  test('dist images rm --sync removes all of it', async () => {
    await dist.ok('images', 'rm', '--sync', image.busybox, image.node);
    assert.ok(!(await dist.ok('images', 'ls')).includes(host));
    const debian = daemon.ctr(namespace);
    assert.deepEqual(await debian.rows('snapshots', '--snapshotter', snapshotter, 'ls'), []);
    assert.equal(await debian.ok('content', 'ls', '--quiet'), '');
  });

  const debianCtr = (...args: readonly string[]): Promise<string> => daemon.ctr(namespace).ok(...args);
}
