import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type Ctr, eventually } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const { daemon, image, own, pulled } = await startWorld(['busybox']);

for (const snapshotter of SNAPSHOTTERS) {
  describe(`ctr containers, events and leases on ${snapshotter}`, () => suite(snapshotter));
}

function suite(snapshotter: Snapshotter): void {
  const namespace = own(`containers-${snapshotter}`);
  let ctr: Ctr;
  before(async () => {
    ctr = await pulled(namespace, snapshotter, 'busybox');
  });

  test('containers are created, listed, shown, relabelled and removed with their snapshot', async () => {
    const create = ['containers', 'create', '--snapshotter', snapshotter, '--label', 'a=1'];
    await ctr.ok(...create, image.busybox, 'made', 'echo', 'hello');
    assert.deepEqual(await ctr.rows('containers', 'ls'), [['made', image.busybox, 'io.containerd.runc.v2']]);
    assert.match(await ctr.fails(...create, image.busybox, 'made'), /made.*already exists/);

    const info = JSON.parse(await ctr.ok('containers', 'info', 'made'));
    assert.deepEqual(
      [info.ID, info.Image, info.Snapshotter, info.SnapshotKey, info.Runtime.Name],
      ['made', image.busybox, snapshotter, 'made', 'io.containerd.runc.v2'],
    );
    assert.equal(info.Labels.a, '1');
    assert.deepEqual(info.Spec.process.args, ['echo', 'hello']);
    assert.equal(info.Spec.linux.cgroupsPath, `/${namespace}/made`);

    const labels = (await ctr.ok('containers', 'label', 'made', 'b=2')).trim().split(',');
    assert.ok(labels.includes('a=1') && labels.includes('b=2'), labels.join());
    assert.equal((await ctr.ok('containers', 'ls', '--quiet', 'labels.b==2')).trim(), 'made');
    assert.equal(await ctr.ok('containers', 'ls', '--quiet', 'labels.b==3'), '');

    await ctr.ok('containers', 'rm', 'made');
    assert.match(await ctr.fails('containers', 'info', 'made'), /made.*not found/);
    const snapshots = await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls');
    assert.ok(snapshots.every(([key]) => key !== 'made'));
  });

  test('events tell the life of a container in order', async () => {
    const listener = ctr.start('events');
    // Nothing announces that a subscription stands, so knock until it is heard.
    await eventually('the subscription stands', async () => {
      await ctr.ok('namespaces', 'create', `${namespace}-knock`);
      await ctr.ok('namespaces', 'rm', `${namespace}-knock`);
      return listener.stdout.text.includes('-knock') ? true : undefined;
    });
    const run = ['run', '--rm', '--snapshotter', snapshotter, image.busybox, 'watched', 'sh', '-c', 'exit 3'];
    assert.equal((await ctr.run(run)).code, 3);
    await listener.stdout.until(/\/containers\/delete/);
    const { stdout } = await listener.stop();

    const events = stdout
      .split('\n')
      .filter((line) => line.includes(` ${namespace} `))
      .map((line) => /^(\S+ \S+) \+0000 UTC (\S+) (\S+) (.*)$/.exec(line) ?? [])
      .map(([, time = '', , topic = '', body = '{}']) => ({ time, topic, body: JSON.parse(body) }))
      .filter(({ topic }) => !topic.startsWith('/namespaces/'));
    assert.deepEqual(
      events.map(({ topic }) => topic),
      [
        ...['/snapshot/prepare', '/containers/create', '/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'],
        ...['/snapshot/remove', '/containers/delete'],
      ],
    );
    const [prepare, create, taskCreate, taskStart, taskExit, taskDelete] = events.map(({ body }) => body);
    assert.equal(prepare.key, 'watched');
    assert.deepEqual(
      [create.id, create.image, create.runtime.name],
      ['watched', image.busybox, 'io.containerd.runc.v2'],
    );
    assert.equal(taskCreate.container_id, 'watched');
    assert.ok(taskCreate.bundle.startsWith(daemon.state), taskCreate.bundle);
    assert.ok(taskCreate.rootfs.length > 0 && taskCreate.pid > 1);
    assert.deepEqual([taskStart.container_id, taskStart.pid], ['watched', taskCreate.pid]);
    assert.deepEqual([taskExit.id, taskExit.pid, taskExit.exit_status], ['watched', taskCreate.pid, 3]);
    assert.deepEqual([taskDelete.pid, taskDelete.exit_status], [taskCreate.pid, 3]);
    assert.equal(taskDelete.exited_at, taskExit.exited_at);
    const times = events.map(({ time }) => time);
    assert.deepEqual(times, [...times].sort());
  });

  test('events can be filtered', async () => {
    const listener = ctr.start('events', 'topic=="/containers/create"');
    await eventually('the subscription stands', async () => {
      await ctr.ok('containers', 'create', '--snapshotter', snapshotter, image.busybox, 'filtered');
      await ctr.ok('containers', 'rm', 'filtered');
      return listener.stdout.text === '' ? undefined : true;
    });
    const { stdout } = await listener.stop();
    assert.ok(
      stdout
        .trim()
        .split('\n')
        .every((line) => line.includes('/containers/create')),
      stdout,
    );
  });

  test('leases are created, listed and removed', async () => {
    assert.equal(await ctr.ok('leases', 'create', '--id', 'named', 'purpose=test'), 'named\n');
    const random = (await ctr.ok('leases', 'create')).trim();
    assert.notEqual(random, '');
    const rows = await ctr.rows('leases', 'ls');
    assert.deepEqual(rows.map(([id]) => id).sort(), ['named', random].sort());
    const labels = rows.find(([id]) => id === 'named')?.[2]?.split(',') ?? [];
    assert.ok(labels.includes('purpose=test'));
    assert.ok(labels.some((label) => label.startsWith('containerd.io/gc.expire=')));
    assert.match(await ctr.fails('leases', 'create', '--id', 'named'), /already exists/);
    await ctr.ok('leases', 'rm', '--sync', 'named');
    await ctr.ok('leases', 'rm', random);
    assert.match(await ctr.fails('leases', 'rm', 'named'), /named.*not found/);
    assert.deepEqual(await ctr.rows('leases', 'ls'), []);
  });
}
