/**
 * Content, a snapshotter and the runtime, each replaced by a package from elsewhere, by configuration alone: other
 * implementations (see replacements/), which have nothing of those that they take the place of.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Daemon, eventually, run, scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(TREE, '../bin');

/** By the key of the plugin of the tree: the module of what takes its place, and the key of that. */
const REPLACEMENTS = {
  content: ['content', 'memory-content'],
  'snapshot-overlay': ['snapshotter', 'plain-snapshotter'],
  'runtime-runc': ['runtime', 'plain-runtime'],
} as const;

type Replaced = keyof typeof REPLACEMENTS;

const directory = await scratch('packages');
after(() => directory[Symbol.asyncDispose]());

/** A package of its own version, whose plugin is that of the module. */
async function packageOf(module: string): Promise<string> {
  const folder = join(directory.path, `keelson-own-${module}`);
  if (existsSync(folder)) return folder;
  const manifest = { name: `keelson-own-${module}`, version: '1.2.3', type: 'module', exports: './index.js' };
  await mkdir(folder);
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
  const source = pathToFileURL(join(TREE, 'test/e2e/replacements', `${module}.js`)).href;
  await writeFile(join(folder, 'index.js'), `export { plugin } from '${source}';\n`);
  return folder;
}

async function replacing(...replaced: readonly Replaced[]): Promise<string> {
  const sections = replaced.map(async (id) => {
    const [module, key] = REPLACEMENTS[id];
    const path = JSON.stringify(await packageOf(module));
    return `[plugins.${id}]\nenabled = false\n[plugins.${key}]\npath = ${path}\n`;
  });
  return (await Promise.all(sections)).join('\n');
}

const all = await replacing('content', 'snapshot-overlay', 'runtime-runc');
const { daemon, image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond', config: all });

const plugins = async ({ address }: Daemon): Promise<string> =>
  (await run(join(BIN, 'keelson'), ['--address', address, 'plugins'])).stdout;

const isShown = (table: string, key: string): boolean =>
  new RegExp(` ${key} +ok +[\\d.]+ ms +1\\.2\\.3 +path `).test(table);

test('an image is pulled and containers run with all three replaced', async () => {
  const ctr = await pulled(own('replaced'), 'overlayfs', 'busybox');
  const { stdout, stderr, code } = await ctr.run(['run', '--rm', image.busybox, 'c', 'echo', 'on other parts']);
  assert.deepEqual([stdout, code], ['on other parts\n', 0], stderr);
  assert.equal((await ctr.run(['run', '--rm', image.busybox, 'd', 'sh', '-c', 'exit 7'])).code, 7);
  assert.equal((await ctr.run(['run', '--rm', image.busybox, 'e', 'cat', '/etc/passwd'])).code, 0);

  await ctr.ok('run', '-d', image.busybox, 'f', 'sleep', '600');
  const [[, pid = '', status] = []] = await ctr.rows('tasks', 'ls');
  assert.equal(status, 'RUNNING');
  // The kernel has yet to execute it.
  await eventually(
    'the program of the container',
    () => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep') || undefined,
  );
  await ctr.ok('tasks', 'kill', '-s', 'SIGKILL', 'f');
  await eventually(
    'the task has ended',
    async () => (await ctr.rows('tasks', 'ls'))[0]?.[2] === 'STOPPED' || undefined,
  );
  await ctr.run(['tasks', 'delete', 'f']);
  assert.deepEqual(await ctr.rows('tasks', 'ls'), []);
  await ctr.ok('containers', 'rm', 'f');

  assert.ok(!existsSync(join(daemon.root, 'io.containerd.content.v1.content')), 'no blob lies on the disk');
  const snapshots = readdirSync(join(daemon.root, 'io.containerd.snapshotter.v1.overlayfs'));
  assert.ok(snapshots.includes('records.json'), `the snapshotter's own records are there: ${snapshots}`);
  assert.ok(
    existsSync(join(daemon.state, 'io.containerd.runtime.v2.task/runc')),
    'runc kept its state where it was told',
  );
  const [, layer] = await ctr.rows('content', 'ls');
  assert.ok(layer?.[0]?.startsWith('sha256:'), String(layer));
  const table = await plugins(daemon);
  for (const [, key] of Object.values(REPLACEMENTS)) assert.ok(isShown(table, key), table);
});

for (const id of ['content', 'snapshot-overlay', 'runtime-runc'] as const)
  test(`${id} alone is replaced, and works with the others of the tree`, async () => {
    await using one = await Daemon.start({ kind: 'keelsond', config: await replacing(id) });
    const ctr = one.ctr(own(id));
    await ctr.ok('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', image.busybox);
    const { stdout, stderr, code } = await ctr.run(['run', '--rm', image.busybox, 'c', 'echo', 'mixed']);
    assert.deepEqual([stdout, code], ['mixed\n', 0], stderr);
    assert.ok(isShown(await plugins(one), REPLACEMENTS[id][1]));
  });
