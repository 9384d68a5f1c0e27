import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'smol-toml';
import { VERSION } from '../../lib/version.js';

const BIN = join(import.meta.dirname, '../../../bin');
/** How a program is asked for its version: that of a shim is containerd's. */
const versionFlag = (name: string): string => (name.startsWith('containerd-shim-') ? '-v' : '--version');
const run = (name: string, ...args: string[]): string => execFileSync(join(BIN, name), args, { encoding: 'utf8' });

describe('built programs', () => {
  for (const name of readdirSync(BIN))
    it(`${name} runs, on the pinned Node, from anywhere`, () => {
      const env = { PATH: '/nowhere:/usr/bin:/bin' };
      const text = execFileSync(join(BIN, name), [versionFlag(name)], { encoding: 'utf8', cwd: '/', env });
      assert.ok(text.includes(VERSION), text);
    });

  it('keelsond carries its default configuration and all plugins with it', () => {
    const defaults = parse(run('keelsond', 'config', 'default'));
    const dumped = parse(run('keelsond', 'config', 'dump'));
    assert.deepEqual(Object.keys(dumped.plugins ?? {}), Object.keys(defaults.plugins ?? {}));
    assert.ok(Object.keys(defaults.plugins ?? {}).length > 5);
  });
});
