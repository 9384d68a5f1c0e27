import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ingest, startWorld } from './world.js';

const { daemon } = await startWorld([]);
const ctr = daemon.ctr('e2e-daemon');

/** Plugins that a stock client, or a person, looks for. */
const EXPECTED = [
  ['io.containerd.content.v1', 'content'],
  ['io.containerd.snapshotter.v1', 'overlayfs'],
  ['io.containerd.snapshotter.v1', 'native'],
  ['io.containerd.metadata.v1', 'bolt'],
  ['io.containerd.differ.v1', 'walking'],
  ['io.containerd.event.v1', 'exchange'],
  ['io.containerd.runtime.v2', 'task'],
  ...['containers', 'content', 'diff', 'events', 'healthcheck', 'images', 'introspection'].map(grpc),
  ...['leases', 'namespaces', 'snapshots', 'tasks', 'version'].map(grpc),
];

function grpc(id: string): string[] {
  return ['io.containerd.grpc.v1', id];
}

describe('ctr and the daemon', () => {
  test('version shows the client and the server', async () => {
    const text = await ctr.ok('version');
    const server = text.slice(text.indexOf('Server:'));
    assert.match(server, /Version: +\S+/);
    assert.match(server, /UUID: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/);
  });

  test('the UUID of the server survives a restart', async () => {
    const before = /UUID: (\S+)/.exec(await ctr.ok('version'))?.[1];
    await daemon.stop();
    await daemon.start();
    assert.equal(/UUID: (\S+)/.exec(await ctr.ok('version'))?.[1], before);
  });

  test('plugins ls names the plugins that clients look for, each ok', async () => {
    const rows = await ctr.rows('plugins', 'ls');
    const healthy = rows.filter(([, , , status]) => status === 'ok').map(([type, id]) => `${type}/${id}`);
    for (const [type, id] of EXPECTED) assert.ok(healthy.includes(`${type}/${id}`), `${type}/${id} is not ok`);
  });

  test('plugins ls --detailed shows where a snapshotter keeps its files', async () => {
    const detail = await ctr.ok('plugins', 'ls', '--detailed', 'id==overlayfs');
    assert.match(detail, /ID: +overlayfs/);
    assert.ok(detail.includes(daemon.root), detail);
    assert.match(detail, /Platforms: +linux\/\w+/);
  });

  test('namespaces are created with labels, listed, relabelled and removed', async () => {
    await ctr.ok('namespaces', 'create', 'e2e-made', 'color=red', 'size=big');
    assert.deepEqual(await namespace('e2e-made'), ['color=red', 'size=big']);
    await ctr.ok('namespaces', 'label', 'e2e-made', 'color=', 'shape=round');
    assert.deepEqual(await namespace('e2e-made'), ['shape=round', 'size=big']);
    assert.match(await ctr.fails('namespaces', 'create', 'e2e-made'), /already exists/);
    assert.equal(await ctr.ok('namespaces', 'rm', 'e2e-made'), 'e2e-made\n');
    assert.equal(await namespace('e2e-made'), undefined);
  });

  test('a namespace that holds something is not removed', async () => {
    const full = daemon.ctr('e2e-full');
    const digest = await ingest(full, 'held', 'held content');
    const { stderr } = await full.run(['namespaces', 'rm', 'e2e-full']);
    assert.match(stderr, /must be empty/);
    await full.ok('content', 'rm', digest);
    await full.ok('namespaces', 'rm', 'e2e-full');
  });

  test('a malformed namespace is refused', async () => {
    assert.match(await daemon.ctr('not a name').fails('images', 'ls'), /invalid argument/);
  });

  async function namespace(name: string): Promise<string[] | undefined> {
    const row = (await ctr.rows('namespaces', 'ls')).find(([found]) => found === name);
    return row && (row[1] ?? '').split(',').filter(Boolean).sort();
  }
});
