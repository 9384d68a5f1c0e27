/** The examples that the guide shows and `keelson plugin new` copies: scaffolded, compiled against the tarball, and run. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { succeed } from '../harness/command.js';
import { outside, programIn, TOP } from '../harness/outside.js';

const { directory, package: newPackage } = await outside();

async function passedIn(place: string): Promise<number> {
  await succeed(programIn(directory, 'tsc'), ['-p', place]);
  const env = { KEELSON_CONFORMANCE_REQUIRED: '1', PATH: `${join(process.execPath, '..')}:${process.env.PATH}` };
  const output = await succeed('npm', ['test'], { cwd: place, env });
  return Number(/^. pass (\d+)$/m.exec(output)?.[1]);
}

/** A name for each kind, and how many checks its kit has, at least. */
const PLUGINS = [
  ['snapshotter', 'snapshot-own', 50],
  ['runtime', 'runtime-own', 40],
  ['service', 'service-own', 7],
  ['differ', 'differ-own', 20],
] as const;

for (const [kind, name, atLeast] of PLUGINS) {
  describe(`keelson plugin new --kind ${kind}`, () => {
    it('writes a package that compiles and passes its kit', async () => {
      const place = await newPackage(kind);
      const program = programIn(directory, 'keelson');
      const output = await succeed(program, ['plugin', 'new', name, '--kind', kind, '--directory', place]);
      assert.match(output, /src\/index\.ts/);
      for (const file of await readdir(join(place, 'src'))) {
        const text = await readFile(join(place, 'src', file), 'utf8');
        assert.doesNotMatch(text, /snapshot-copy|runtime-oci|service-greeter|differ-brotli/, file);
      }
      const passed = await passedIn(place);
      assert.ok(passed >= atLeast, `${passed} checks passed`);
    });
  });
}

describe('keelson plugin new', () => {
  it('refuses a name that is none, and a directory that is not empty', async () => {
    const program = programIn(directory, 'keelson');
    const place = await newPackage('refused');
    await assert.rejects(succeed(program, ['plugin', 'new', '../up', '--directory', place]), /cannot be the name/);
    await succeed(program, ['plugin', 'new', 'x', '--directory', place]);
    await assert.rejects(succeed(program, ['plugin', 'new', 'x', '--directory', place]), /is not empty/);
  });
});

describe('the examples', () => {
  it('show a runtime and a gRPC service in fewer than 60 lines each', async () => {
    for (const name of ['runtime-oci', 'service-greeter']) {
      const lines = (await readFile(join(TOP, 'examples', name, 'src/index.ts'), 'utf8')).trimEnd().split('\n');
      assert.ok(lines.length < 60, `${name}: ${lines.length} lines`);
    }
  });

  it('ask for the version of the package that is in the tree', async () => {
    const Manifest = z.object({ version: z.string(), peerDependencies: z.record(z.string(), z.string()).optional() });
    const read = async (path: string) => Manifest.parse(JSON.parse(await readFile(join(TOP, path), 'utf8')));
    const { version } = await read('package.json');
    for (const name of await readdir(join(TOP, 'examples'))) {
      if (name === 'quickstart') continue;
      const { peerDependencies } = await read(`examples/${name}/package.json`);
      assert.equal(peerDependencies?.keelson, `^${version}`, name);
    }
  });
});
