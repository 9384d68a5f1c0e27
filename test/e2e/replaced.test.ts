/** Content, a snapshotter and the runtime, each replaced by a package from elsewhere, by configuration alone. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const REPLACED = ['content', 'snapshot-overlay', 'runtime-runc'];

const directory = await scratch('packages');
after(() => directory[Symbol.asyncDispose]());
const callsFile = join(directory.path, 'calls');

/** A package whose plugin claims the contract of one of the tree, and writes down that it was called. */
async function writePackage(id: string): Promise<string> {
  const folder = join(directory.path, `keelson-own-${id}`);
  const tree = pathToFileURL(join(TREE, 'plugins', id, 'index.js')).href;
  await mkdir(folder);
  await writeFile(
    join(folder, 'package.json'),
    JSON.stringify({ name: `keelson-own-${id}`, version: '1.0.0', type: 'module', exports: './index.js' }),
  );
  await writeFile(
    join(folder, 'index.js'),
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
  return folder;
}

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
