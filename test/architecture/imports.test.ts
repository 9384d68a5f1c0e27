import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type SourceFile, violations } from './imports.js';

const TOP = join(import.meta.dirname, '..', '..', '..');
const SOURCES = '{kernel,plugins,lib,api,client,cli,config}/**/*.ts';

async function sources(): Promise<SourceFile[]> {
  const paths = await Array.fromAsync(glob(SOURCES, { cwd: TOP, exclude: ['api/gen/**'] }));
  return Promise.all(paths.map(async (path) => ({ path, text: await readFile(join(TOP, path), 'utf8') })));
}

describe('import rules', () => {
  it('hold in the whole tree', async () => {
    const files = await sources();
    assert.ok(files.length > 10, 'found the sources');
    assert.deepEqual(violations(files), []);
  });

  const planted: [title: string, path: string, specifier: string][] = [
    ['a plugin importing a plugin', 'plugins/a/index.ts', '../b/store.js'],
    ['a plugin importing the wiring of the kernel', 'plugins/a/index.ts', '../../kernel/registry.js'],
    ['the kernel importing a contract', 'kernel/start.ts', './contracts/content.js'],
    ['the kernel importing a plugin', 'kernel/start.ts', '../plugins/content/index.js'],
    ['a command line importing a plugin', 'cli/ctr/main.ts', '../../plugins/tasks/index.js'],
    ['the library importing a contract', 'lib/tar/reader.ts', '../../kernel/contracts/diff.js'],
    ['the configuration importing the inside of a plugin', 'config/load.ts', '../plugins/content/store.js'],
    ['the api importing a plugin', 'api/codec.ts', '../plugins/content/store.js'],
  ];
  for (const [title, path, specifier] of planted) {
    it(`refuse ${title}`, () => {
      const found = violations([{ path, text: `import type { X } from '${specifier}';` }]);
      assert.equal(found.length, 1);
    });
  }
});
