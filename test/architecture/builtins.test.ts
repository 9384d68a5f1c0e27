import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { builtins } from '../../config/builtins.js';
import { unknownPlugin } from '../../kernel/discover.js';
import { createKernel } from '../../kernel/index.js';

const TOP = join(import.meta.dirname, '../../..');
const defaults = parse(readFileSync(join(TOP, 'config/default.toml'), 'utf8'));
const { plugins } = z.object({ plugins: z.record(z.string(), z.looseObject({})) }).parse(defaults);

describe('plugins of the tree', () => {
  it('have a table in config/default.toml each, and no other door', () => {
    const missing = Object.keys(builtins).filter((id) => !Object.hasOwn(plugins, id));
    assert.deepEqual(missing, [], `add [plugins.${missing[0]}] to config/default.toml`);
    const strange = Object.keys(plugins).filter((id) => unknownPlugin(id, {}, builtins) !== undefined);
    assert.deepEqual(strange, [], 'config/default.toml names plugins that config/builtins.ts does not');
  });

  it('have no problem among themselves with the default configuration, holes apart', async () => {
    const { problems } = await createKernel(
      { root: '/nowhere/root', state: '/nowhere/state', plugins },
      { builtins },
    ).inspect();
    const others = problems.filter(({ situation }) => situation !== 'KEELSON_MISSING');
    assert.deepEqual(
      others.map(({ message }) => message),
      [],
    );
  });
});
