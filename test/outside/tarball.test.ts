/** The packed tarball: what is in it, and that each of its doors opens from outside. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { succeed } from '../harness/command.js';
import { outside, programIn, TOP } from '../harness/outside.js';

const { directory, tarball, package: newPackage } = await outside();
const { exports } = z
  .object({ exports: z.record(z.string(), z.string()) })
  .parse(JSON.parse(await readFile(join(TOP, 'package.json'), 'utf8')));

const CONTRACTS = ['content', 'diff', 'events', 'grpc', 'runtime', 'scope', 'snapshots', 'tasks'];

/** Every door as its users write it. */
const specifiers = Object.keys(exports)
  .filter((path) => path !== './package.json')
  .flatMap((path) => (path.endsWith('*') ? CONTRACTS.map((name) => path.replace('*', name)) : [path]))
  .map((path) => path.replace('.', 'keelson'));

describe('the packed tarball', () => {
  it('holds programs, compiled code and declarations, and no tests or sources', async () => {
    const files = (await succeed('tar', ['-tzf', tarball])).split('\n').filter(Boolean);
    for (const wanted of ['bin/keelsond', 'dist/programs/keelsond.cjs', 'dist/kernel/plugin.d.ts', 'package.json'])
      assert.ok(files.includes(`package/${wanted}`), wanted);
    const junk =
      /\.test\.|\.spec-d\.|\.map$|\.tsbuildinfo|dist\/(bench\/|cli\/|test\/(?!conformance\/(?!mutants)|harness|hostile\/tar\.))|(?<!\.d)\.ts$/;
    assert.deepEqual(
      files.filter((file) => junk.test(file) && !file.startsWith('package/examples/')),
      [],
    );
    const code = files.filter((file) => file.endsWith('.js') && !file.includes('/programs/'));
    assert.deepEqual(
      code.filter((file) => !files.includes(file.replace(/\.js$/, '.d.ts'))),
      [],
    );
  });

  it('opens every subpath of its exports, and no file beside them', async () => {
    const lines = specifiers.map((specifier) => `await import(${JSON.stringify(specifier)});`);
    const file = join(await newPackage('doors'), 'doors.js');
    await writeFile(file, `${lines.join('\n')}\nconsole.log('all');\n`);
    assert.equal(await succeed(process.execPath, [file]), 'all\n');
    await writeFile(file, "await import('keelson/dist/kernel/start.js');\n");
    await assert.rejects(succeed(process.execPath, [file]), /ERR_PACKAGE_PATH_NOT_EXPORTED/);
  });

  it('declares types that a strict compiler takes, those of its dependencies included', async () => {
    const place = await newPackage('types');
    const lines = specifiers.map((specifier, index) => `import * as m${index} from ${JSON.stringify(specifier)};`);
    const uses = specifiers.map((_, index) => `m${index}`).join(', ');
    await writeFile(join(place, 'all.ts'), `${lines.join('\n')}\nexport const all = [${uses}];\n`);
    await writeFile(join(place, 'package.json'), JSON.stringify({ type: 'module' }));
    const options = {
      strict: true,
      module: 'nodenext',
      target: 'es2024',
      lib: ['esnext'],
      types: ['node'],
      noEmit: true,
    };
    await writeFile(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['all.ts'] }));
    await succeed(programIn(directory, 'tsc'), ['-p', place]);
  });

  it('has programs that run where npm put them', async () => {
    assert.match(await succeed(programIn(directory, 'keelsond'), ['--version']), /^keelsond \d/);
  });
});
