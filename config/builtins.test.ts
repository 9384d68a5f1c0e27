import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { builtins } from './builtins.js';

const TOP = join(import.meta.dirname, '../..');

describe('plugins of the tree', () => {
  it('are listed in alphabetical order', () => {
    assert.deepEqual(Object.keys(builtins), Object.keys(builtins).sort());
  });

  it('have a README each', () => {
    const folders = Object.keys(builtins).map((id) =>
      existsSync(join(TOP, 'plugins', id)) ? id : id.replace(/-service$/, ''),
    );
    const missing = folders.filter((folder) => !existsSync(join(TOP, 'plugins', folder, 'README.md')));
    assert.deepEqual(missing, []);
  });

  it('describe every setting', async () => {
    for (const [id, load] of Object.entries(builtins)) {
      const module = z.object({ plugin: z.looseObject({ config: z.instanceof(z.ZodObject) }) }).safeParse(await load());
      assert.ok(module.success, `plugin "${id}": its config must be a z.object`);
      for (const [key, schema] of Object.entries(module.data.plugin.config.shape))
        assert.ok(z.globalRegistry.get(schema)?.description, `plugin "${id}": setting "${key}" has no description`);
    }
  });
});
