/** SIGTERM while tasks are created and images pulled: the daemon ends soon, and what it was at is whole or absent. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { pullImage, TaskStatus } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { OCI_CONFIG, OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { specOf } from '../conformance/container.js';
import { eventually } from '../harness/eventually.js';
import { ScriptedRegistry } from '../hostile/registry.js';
import { World } from './tasks-world.js';

const COUNT = 20;
/** Milliseconds. */
const END = 5000;
const SIGKILL = 9;

const LAYER_SIZE = 1 << 20;

/** Adds an image of one layer, of which half is sent, and the rest never is; its reference. */
function addStuckImage(registry: ScriptedRegistry, name: string): string {
  const layer = randomBytes(LAYER_SIZE);
  const layers = [registry.addBlob(layer, 'application/vnd.oci.image.layer.v1.tar')];
  const diffIds = layers.map(({ digest }) => digest);
  const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } };
  const configEntry = registry.addBlob(Buffer.from(JSON.stringify(config)), OCI_CONFIG);
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: configEntry, layers };
  registry.addManifest(manifest, OCI_MANIFEST, name);
  registry.script(new RegExp(`^GET .*${diffIds[0]}`), (response) => {
    response.writeHead(200, { 'content-length': layer.length });
    response.write(layer.subarray(0, LAYER_SIZE / 2));
  });
  return `${registry.host}/stuck/${name}:${name}`;
}

describe(`a daemon that is stopped during ${COUNT} creates and ${COUNT} pulls`, () => {
  it('ends in time; each image and task is there and usable, or absent', async () => {
    await using registry = await ScriptedRegistry.start();
    await using world = await World.open('stopped');
    const ids = Array.from({ length: COUNT }, (_, n) => `stopped${n}`);
    const mount = { ...world.rootfs, options: [...world.rootfs.options] };
    for (const id of ids) {
      const spec = specOf(world.namespace, id, 'exec sleep 600');
      await world.client.containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
    }
    const creating = ids.map((id) => world.client.tasks.create({ containerId: id, rootfs: [mount] }));
    const settled = Promise.allSettled(creating);
    const references = ids.map((id) => addStuckImage(registry, id));
    const pull = (reference: string) => pullImage(world.client, { reference, plainHttp: true });
    const pulled = Promise.allSettled(references.map(pull));
    // Whose configuration and layer are both asked for.
    const isUnderWay = (id: string): boolean => registry.seen(new RegExp(`^GET .*/${id}/blobs`)).length > 1;
    await eventually('layers are under way', () => ids.filter(isUnderWay).length > 1 || undefined);
    await eventually('some are made', async () => {
      const { tasks } = await world.client.tasks.list({});
      return tasks.length >= 2 ? true : undefined;
    });
    const begun = performance.now();
    await world.stop();
    assert.ok(performance.now() - begun < END, `the daemon took ${performance.now() - begun} ms to end`);
    const answers = await settled;
    assert.deepEqual(new Set((await pulled).map(({ status }) => status)), new Set(['rejected']));
    registry.forget();
    await world.startAgain();
    assert.deepEqual((await world.client.images.list({})).images, [], 'of no pull there is an image');
    await Promise.all(references.map(pull));
    assert.equal((await world.client.images.list({})).images.length, COUNT);
    for (const [n, id] of ids.entries()) {
      const { tasks } = world.client;
      const status = await tasks.get({ containerId: id }).then(
        ({ process }) => process?.status,
        (error: unknown) => {
          assert.ok(hasCode(error, 'NOT_FOUND'), String(error));
          return undefined;
        },
      );
      if (answers[n]?.status === 'fulfilled') assert.equal(status, TaskStatus.CREATED, id);
      if (status === undefined) await tasks.create({ containerId: id, rootfs: [mount] });
      await tasks.start({ containerId: id });
      await tasks.kill({ containerId: id, signal: SIGKILL });
      assert.equal((await tasks.wait({ containerId: id })).exitStatus, 128 + SIGKILL, id);
      await tasks.delete({ containerId: id });
      await world.client.containers.delete({ id });
    }
  });
});
