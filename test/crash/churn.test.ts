/**
 * Pods that come and go: fault 48 of docs/reliability.md. Each is a container with a supervisor of its own; at every look there are
 * as many supervisors, bundles and entries as pods that live, and in the end no more than before.
 * `KEELSON_CHURN=N` changes how many there are in all.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { withAnnotations } from '../../lib/oci/runtime-spec.js';
import { specOf } from '../conformance/container.js';
import { eventually } from '../harness/eventually.js';
import { supervisorsBelow } from '../harness/runc.js';
import { World } from './tasks-world.js';

const COUNT = Number(process.env.KEELSON_CHURN ?? 60);
/** Pods that live between two looks. */
const AT_ONCE = 6;

const CONFIG = `[plugins.runtime-runc.config]
grouping = "pod"
idle = 1
event_grace = 1
`;
const SANDBOX = 'io.kubernetes.cri.sandbox-id';

class Churn {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async start(id: string): Promise<void> {
    const { client, namespace, rootfs } = this.#world;
    const spec = specOf(namespace, id, 'exec sleep 600', withAnnotations({ [SANDBOX]: id }));
    await client.containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
    await client.tasks.create({ containerId: id, rootfs: [{ ...rootfs, options: [...rootfs.options] }] });
    await client.tasks.start({ containerId: id });
  }

  async end(id: string): Promise<void> {
    const { tasks, containers } = this.#world.client;
    await tasks.kill({ containerId: id, signal: 9 });
    assert.equal((await tasks.wait({ containerId: id })).exitStatus, 137, id);
    await tasks.delete({ containerId: id });
    await containers.delete({ id });
  }

  /** Bundles of the namespace, as they lie in the daemon's state. */
  bundles(): string[] {
    const { daemon, namespace } = this.#world;
    return readdirSync(join(daemon.state, 'io.containerd.runtime.v2.task', namespace)).sort();
  }

  async tasks(): Promise<string[]> {
    const { tasks } = await this.#world.client.tasks.list({});
    return tasks.map(({ id }) => id).sort();
  }

  supervisors(): Promise<number[]> {
    return supervisorsBelow(this.#world.daemon.directory);
  }

  descriptors(): number {
    return readdirSync(`/proc/${this.#world.daemon.pid}/fd`).length;
  }
}

describe(`${COUNT} pods, one after the other`, () => {
  it('leave nothing: as many supervisors, bundles and entries as pods that live', async () => {
    await using world = await World.open('churn', CONFIG);
    const churn = new Churn(world);
    const round = (number: number): string[] => Array.from({ length: AT_ONCE }, (_, n) => `pod-${number}-${n}`);
    let descriptors = 0;
    for (let number = 0; number * AT_ONCE < COUNT; number++) {
      const ids = round(number);
      await Promise.all(ids.map((id) => churn.start(id)));
      assert.deepEqual(await churn.tasks(), ids);
      assert.deepEqual(churn.bundles(), ids);
      await eventually(`${AT_ONCE} supervisors in round ${number}`, async () =>
        (await churn.supervisors()).length === AT_ONCE ? true : undefined,
      );
      await Promise.all(ids.map((id) => churn.end(id)));
      assert.deepEqual([await churn.tasks(), churn.bundles()], [[], []]);
      if (number === 0) descriptors = await settled(churn);
    }
    await settled(churn);
    await eventually('descriptors of the daemon are back', () => churn.descriptors() <= descriptors || undefined);
    assert.deepEqual((await world.client.containers.list({})).containers, []);
  });
});

/** Descriptors of the daemon once the last supervisor has ended. */
async function settled(churn: Churn): Promise<number> {
  await eventually('supervisors end', async () => ((await churn.supervisors()).length === 0 ? true : undefined));
  return churn.descriptors();
}
