import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createKernel } from '../../kernel/index.js';
import { builtins } from '../builtins.js';
import { loadConfig } from '../load.js';

const EXAMPLES = join(import.meta.dirname, '../../../config/examples');

describe('examples', () => {
  for (const file of globSync('*.{toml,yaml,json}', { cwd: EXAMPLES }))
    it(`${file} has no problem but packages that are not installed`, async () => {
      const { settings, problems, warnings, locate } = await loadConfig({ file: join(EXAMPLES, file) });
      assert.deepEqual([problems, warnings], [[], []]);
      const { problems: found } = await createKernel(settings, { builtins, locate }).inspect();
      const excused = new Set(['KEELSON_MISSING', 'KEELSON_IMPORT', 'KEELSON_REQUIRED', 'KEELSON_DEPENDENCY']);
      assert.deepEqual(
        found.filter(({ situation }) => !excused.has(situation)),
        [],
      );
    });
});
