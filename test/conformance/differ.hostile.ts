/** Layers that attack: nothing outside the tree may change, whatever is said of the layer. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { archive, dir, file, hardlink, opaque, symlink, whiteout } from '../hostile/tar.js';
import type { Checks } from './differ.js';
import type { DifferBench } from './differ.workbench.js';

/** Applies the layers one after another, each may be refused; what lies outside must be as it was. */
async function attack(bench: DifferBench, layers: (outside: string) => readonly Buffer[]): Promise<void> {
  const outside = bench.tree();
  mkdirSync(join(outside, 'd'));
  writeFileSync(join(outside, 'secret'), 'untouched');
  chmodSync(join(outside, 'secret'), 0o600);
  const root = bench.tree();
  for (const layer of layers(outside)) {
    try {
      await bench.apply(layer, root);
    } catch (error) {
      assert.ok(error instanceof Error);
    }
  }
  assert.deepEqual(readdirSync(outside).sort(), ['d', 'secret']);
  assert.deepEqual(readdirSync(join(outside, 'd')), []);
  assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'untouched');
  const { mode, nlink } = statSync(join(outside, 'secret'));
  assert.deepEqual([mode & 0o7777, nlink], [0o600, 1]);
}

const up = '../'.repeat(12);

export const hostileChecks: Checks = {
  'names that climb out stay inside': (bench) =>
    attack(bench, (outside) => [
      archive(file(`${up}${outside.slice(1)}/new`, 'x')),
      archive(file(`${outside}/new`, 'x')),
      archive(dir('a/'), file(`a/${up}${outside.slice(1)}/new`, 'x')),
    ]),

  'links of the same layer and of another lead nowhere outside': (bench) =>
    attack(bench, (outside) => [
      archive(symlink('link', outside), file('link/new', 'x')),
      archive(symlink('later', outside)),
      archive(file('later/new', 'x')),
      archive(symlink('climbing', `${up}${outside.slice(1)}`), dir('climbing/sub/'), file('climbing/d/new', 'x')),
    ]),

  'https://nvd.nist.gov/vuln/detail/CVE-2014-6407: hard links and links to them do not reach out': (bench) =>
    attack(bench, (outside) => [
      archive(hardlink('hard', `${outside}/secret`), file('hard', 'changed')),
      archive(hardlink('hard', `${up}${outside.slice(1)}/secret`)),
      archive(hardlink('alone', `${outside}/secret`)),
      archive(symlink('l', outside), hardlink('hard', 'l/secret'), file('hard', 'changed')),
    ]),

  'https://github.com/advisories/GHSA-c72p-9xmj-rx3w: modes of files outside stay': (bench) =>
    attack(bench, (outside) => [
      archive(symlink('s', `${outside}/secret`), hardlink('h', 's', { mode: 0o4777 })),
      archive(symlink('t', `${outside}/secret`, { mode: 0o777 }), file('t', 'changed', { mode: 0o777 })),
    ]),

  'whiteouts and opaque marks delete nothing outside': (bench) =>
    attack(bench, (outside) => [
      archive(symlink('link', outside), whiteout('link/secret'), whiteout('link/d')),
      archive(symlink('other', outside), opaque('other')),
      archive(file('.wh...'), file('.wh..'), file('.wh.')),
      archive(file(`a/.wh.${up}${outside.slice(1)}/secret`)),
    ]),

  'the root itself can be neither replaced nor removed': async (bench) => {
    const root = bench.tree();
    for (const layer of [archive(symlink('.', '/etc')), archive(whiteout('.')), archive(file('./', 'x'))])
      await bench.apply(layer, root).catch((error: unknown) => assert.ok(error instanceof Error));
    assert.ok(statSync(root).isDirectory());
  },
};
