/** Content, a snapshotter and the runtime, each replaced by a package from elsewhere, by configuration alone. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Daemon, run, scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const REPLACED = ['content', 'snapshot-overlay', 'runtime-runc'];

const directory = await scratch('packages');
after(() => directory[Symbol.asyncDispose]());
const callsFile = join(directory.path, 'calls');

/** The address of a module of the tree, for packages elsewhere. */
const moduleOf = (...path: readonly string[]): string => pathToFileURL(join(TREE, ...path)).href;

async function packageOf(id: string, source: string): Promise<string> {
  const folder = join(directory.path, `keelson-own-${id}`);
  const manifest = { name: `keelson-own-${id}`, version: '1.0.0', type: 'module', exports: './index.js' };
  await mkdir(folder);
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
  await writeFile(join(folder, 'index.js'), source);
  return folder;
}

/** A package whose plugin claims the contract of one of the tree, and writes down that it was called. */
function writePackage(id: string): Promise<string> {
  const tree = moduleOf('plugins', id, 'index.js');
  return packageOf(
    id,
    `import { appendFileSync } from 'node:fs';
    import { plugin as tree } from '${tree}';
    const noted = (service) => new Proxy(service, { get(target, key) {
      const value = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      return (...args) => { appendFileSync('${callsFile}', '${id} ' + String(key) + '\\n'); return value.apply(target, args); };
    } });
    export const plugin = { ...tree, id: 'own-${id}', async start(context) {
      const offered = await tree.start(context);
      return Object.fromEntries(Object.entries(offered).map(([name, service]) => [name, noted(service)]));
    } };`,
  );
}

/** Content that never touches a disk: another implementation, not one around that of the tree. */
const inMemory = (): Promise<string> =>
  packageOf(
    'memory',
    `import { MemoryStore } from '${moduleOf('test/harness/memory-store.js')}';
    import { plugin as tree } from '${moduleOf('plugins/content/index.js')}';
    const { wire, config, requires, provides } = tree;
    export const plugin = { id: 'own-memory', api: 1, wire, config, requires, provides, async start() {
      return { store: new MemoryStore() };
    } };`,
  );

const folders = await Promise.all(REPLACED.map(writePackage));
const config = REPLACED.map(
  (id, index) => `[plugins.${id}]\nenabled = false\n[plugins.own-${id}]\npath = ${JSON.stringify(folders[index])}\n`,
).join('\n');

const { image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond', config });

test('an image is pulled and a container runs on the replacements', async () => {
  const ctr = await pulled(own('replaced'), 'overlayfs', 'busybox');
  const { stdout, code } = await ctr.run(['run', '--rm', image.busybox, 'c', 'echo', 'on other parts']);
  assert.deepEqual([stdout, code], ['on other parts\n', 0]);
  const calls = new Set((await readFile(callsFile, 'utf8')).split('\n'));
  for (const call of ['content writer', 'snapshot-overlay prepare', 'runtime-runc create', 'runtime-runc start'])
    assert.ok(calls.has(call), `${call} in ${[...calls]}`);
  const rows = await ctr.rows('plugins', 'ls');
  assert.ok(
    rows.some(([type, id, , status]) => type === 'io.containerd.content.v1' && id === 'content' && status === 'ok'),
  );
});

test('an image is pulled, read and run on content of another kind altogether, which is shown with its version', async () => {
  const content = `[plugins.content]\nenabled = false\n[plugins.own-memory]\npath = ${JSON.stringify(await inMemory())}\n`;
  await using daemon = await Daemon.start({ kind: 'keelsond', config: content });
  const ctr = daemon.ctr(own('memory'));
  await ctr.ok('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', image.busybox);
  const { stdout, code } = await ctr.run(['run', '--rm', image.busybox, 'c', 'echo', 'from memory']);
  assert.deepEqual([stdout, code], ['from memory\n', 0]);
  const [, layer] = await ctr.rows('content', 'ls');
  assert.ok(layer?.[0]?.startsWith('sha256:'), String(layer));
  assert.ok(!existsSync(join(daemon.root, 'io.containerd.content.v1.content')), 'no blob lies on the disk');
  const { stdout: table } = await run(join(TREE, '../bin/keelson'), ['--address', daemon.address, 'plugins']);
  assert.match(table, / own-memory +ok +[\d.]+ ms +1\.0\.0 +path /);
});
