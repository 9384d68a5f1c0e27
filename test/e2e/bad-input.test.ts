/** What is wrong with the input is said, and nothing is left of the attempt. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Client, connect, pullImage } from '../../client/index.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { Daemon, imageLayout, type Registry, run, scratch, startRegistry } from '../harness/index.js';
import { addImage } from '../hostile/images.js';
import { ScriptedRegistry } from '../hostile/registry.js';
import { archive, file } from '../hostile/tar.js';

const KEELSOND = new URL('../../../bin/keelsond', import.meta.url).pathname;
const NAMESPACE = `bad-input-${process.pid}`;

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe('bad input', () => {
  let daemon: Daemon;
  let client: Client;
  let hostile: ScriptedRegistry;
  let registry: Registry;
  let busybox: string;

  before(async () => {
    daemon = await Daemon.start({ kind: 'keelsond' });
    client = connect({ address: daemon.address, namespace: NAMESPACE });
    hostile = await ScriptedRegistry.start();
    registry = await startRegistry();
    busybox = await registry.push(await imageLayout('busybox'), 'busybox');
    await daemon.ctr(NAMESPACE).ok('images', 'pull', '--plain-http', busybox);
  });
  after(async () => {
    client[Symbol.dispose]();
    await hostile[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
  });

  async function traces(): Promise<object> {
    const snapshots = (await collect(client.snapshots.list({ snapshotter: 'overlayfs' }))).flatMap(({ info }) => info);
    return {
      images: (await client.images.list({})).images.map(({ name }) => name),
      snapshots: snapshots.map(({ name }) => name),
      ingests: (await client.content.listStatuses({})).statuses.map(({ ref }) => ref),
      containers: (await client.containers.list({})).containers.map(({ id }) => id),
      tasks: (await client.tasks.list({})).tasks.map(({ id }) => id),
      leases: (await client.leases.list({})).leases.length,
    };
  }

  /** Runs `attempt`, which must fail as described, and compares what is there before and after. */
  async function leavesNothing(attempt: () => Promise<unknown>, failure: object): Promise<void> {
    const before = await traces();
    await assert.rejects(attempt(), failure);
    assert.deepEqual(await traces(), before);
  }

  const pull = (reference: string, snapshotter = ''): Promise<void> =>
    pullImage(client, { reference, plainHttp: true, unpack: [{ platform: hostPlatform(), snapshotter }] });

  const layer = (): Buffer => archive(file('file', `content ${Math.random()}`));

  it('a layer of another digest', async () => {
    const { layers } = addImage(hostile, { tag: 'digest', layers: [layer()] });
    const [entry] = layers;
    hostile.script(
      new RegExp(`GET .*${entry?.digest}`),
      (response) => response.end(Buffer.alloc(entry?.size ?? 0, 1)),
      9,
    );
    await leavesNothing(() => pull(`${hostile.host}/bad/image:digest`), {
      code: 'FAILED_PRECONDITION',
      message: /digest/,
    });
  });

  it('a layer that is cut short, in the archive itself', async () => {
    const whole = layer();
    addImage(hostile, { tag: 'short', layers: [whole.subarray(0, 700)] });
    await leavesNothing(() => pull(`${hostile.host}/bad/image:short`), { code: 'INVALID_ARGUMENT' });
  });

  it('a layer that is not what the configuration says', async () => {
    addImage(hostile, { tag: 'diff-id', layers: [layer()], diffIds: [`sha256:${'0'.repeat(64)}`] });
    await leavesNothing(() => pull(`${hostile.host}/bad/image:diff-id`), { code: 'FAILED_PRECONDITION' });
  });

  it('an image that the registry does not have', async () => {
    await leavesNothing(() => pull(`${hostile.host}/bad/image:absent`), { code: 'NOT_FOUND', message: /absent/ });
  });

  it('an unknown snapshotter', async () => {
    addImage(hostile, { tag: 'good', layers: [layer()] });
    await leavesNothing(() => pull(`${hostile.host}/bad/image:good`, 'nosuch'), {
      code: 'INVALID_ARGUMENT',
      message: /nosuch/,
    });
    const stat = (): Promise<unknown> => client.snapshots.stat({ snapshotter: 'nosuch', key: 'x' });
    await leavesNothing(stat, { code: 'INVALID_ARGUMENT', message: /snapshotter not loaded/ });
  });

  it('a call without a namespace', async () => {
    using nameless = connect({ address: daemon.address });
    const failure = { code: 'FAILED_PRECONDITION', message: /namespace is required/ };
    await leavesNothing(() => nameless.images.list({}), failure);
  });

  it('a runc that is not there', async () => {
    const ctr = daemon.ctr(NAMESPACE);
    const before = await traces();
    const args = ['run', '--rm', '--runc-binary', '/nonexistent/runc', busybox, 'no-runc', 'true'];
    assert.match(await ctr.fails(...args), /\/nonexistent\/runc/);
    assert.deepEqual(await traces(), before);
  });

  it('a typo in the configuration', async () => {
    await using directory = await scratch('typo');
    const path = join(directory.path, 'config.toml');
    await writeFile(path, 'root = "/r"\nstat = "/s"\n');
    const { code, stderr } = await run(KEELSOND, ['--config', path]);
    assert.equal(code, 1);
    assert.match(stderr, /config\.toml:2:1: stat: .*did you mean \\?"state/);
  });

  it('a plugin that throws at its start: the others run, unless it is required', async () => {
    await using directory = await scratch('throws');
    const path = join(directory.path, 'throws.mjs');
    await writeFile(
      path,
      `export const plugin = {
        id: 'throws', api: 1, wire: { type: 'test.throws.v1', id: 'throws' }, requires: {}, provides: {},
        config: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
        start: async () => { throw new Error('no such luck'); },
      };\n`,
    );
    const config = `[plugins.throws]\npath = "${path}"\n`;
    await using lenient = await Daemon.start({ kind: 'keelsond', config });
    const rows = await lenient.ctr(NAMESPACE).rows('plugins', 'ls', 'id==throws');
    assert.deepEqual(rows[0]?.slice(0, 2), ['test.throws.v1', 'throws']);
    assert.equal(rows[0]?.at(-1), 'error');
    // It may have answered somebody before it came to that plugin: what counts is how it ends.
    const required = join(directory.path, 'required.toml');
    await writeFile(required, `required_plugins = ["throws"]\n${config}`);
    const places = ['root', 'state', 'address'].flatMap((name) => [`--${name}`, join(directory.path, name)]);
    const { code, stderr } = await run(KEELSOND, ['--config', required, ...places]);
    assert.equal(code, 1);
    assert.match(stderr, /no such luck/);
  });
});
