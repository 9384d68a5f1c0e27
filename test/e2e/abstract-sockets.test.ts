/** Sockets that containers on the host's network could reach: attack 76 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { withHostNetwork } from '../../lib/oci/runtime-spec.js';
import { specOf } from '../conformance/container.js';
import { World } from '../crash/tasks-world.js';
import { abstractSocketsOf } from '../harness/abstract-sockets.js';
import { supervisorsBelow } from '../harness/runc.js';

const SIGKILL = 9;

test('neither the daemon nor a supervisor has an abstract socket', async () => {
  await using places = new AsyncDisposableStack();
  const name = `keelson-abstract-${process.pid}`;
  const server = createServer().listen(`\0${name}`);
  places.defer(async () => {
    server.close();
    await once(server, 'close');
  });
  await once(server, 'listening');
  assert.deepEqual(await abstractSocketsOf(process.pid), [`@${name}`], 'one that is there is found');

  const world = places.use(await World.open('abstract'));
  const { containers, tasks } = world.client;
  const id = 'near';
  const spec = specOf(world.namespace, id, 'exec sleep 600', withHostNetwork);
  await containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
  await tasks.create({ containerId: id, rootfs: [{ ...world.rootfs, options: [...world.rootfs.options] }] });
  await tasks.start({ containerId: id });
  const supervisors = await supervisorsBelow(world.daemon.directory);
  assert.equal(supervisors.length, 1);
  for (const pid of [world.daemon.pid, ...supervisors]) assert.deepEqual(await abstractSocketsOf(pid), []);
  await tasks.kill({ containerId: id, signal: SIGKILL });
  await tasks.wait({ containerId: id });
  await tasks.delete({ containerId: id });
  await containers.delete({ id });
});
