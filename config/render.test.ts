import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { scratch } from '../test/harness/scratch.js';
import { builtins } from './builtins.js';
import { loadConfig } from './load.js';
import { annotatedDefault, dump, jsonSchema } from './render.js';

describe('the configuration as text', () => {
  it('dumped, it loads again as the same, defaults included', async () => {
    await using directory = await scratch('config');
    const file = join(directory.path, 'c.toml');
    writeFileSync(
      file,
      'imports = ["none*.toml"]\nroot = "/x"\ndisabled_plugins = ["version"]\n[plugins.server-grpc]\nrequired = true\nconfig = { uid = 7 }\n',
    );
    const first = await dump(await loadConfig({ file }));
    const again = join(directory.path, 'again.toml');
    writeFileSync(again, first);
    const loaded = await loadConfig({ file: again });
    assert.deepEqual(loaded.problems, []);
    assert.equal(await dump(loaded), first);
    assert.equal(loaded.settings.root, '/x');
    const section = z.looseObject({ uid: z.number(), drain_timeout: z.number() });
    assert.equal(section.parse(loaded.settings.plugins['server-grpc']?.config).uid, 7);
  });

  it('the default, with its comments taken off, is valid and says every default', async () => {
    await using directory = await scratch('config');
    const text = await annotatedDefault();
    const file = join(directory.path, 'c.toml');
    writeFileSync(file, text.replaceAll(/^# (\[plugins\..*\]|\w+ = .*|\].*| {2}.*)$/gm, '$1'));
    const { settings, problems } = await loadConfig({ file });
    assert.deepEqual(problems, []);
    assert.equal(await dump({ ...(await loadConfig()), settings }), await dump(await loadConfig()));
    assert.deepEqual(parse(text), parse(text.replaceAll(/^#.*$/gm, '')));
  });

  it('the JSON schema knows every plugin and its settings', async () => {
    const shape = z.object({
      additionalProperties: z.literal(false),
      properties: z.object({
        plugins: z.object({
          properties: z.record(
            z.string(),
            z.object({ properties: z.object({ config: z.looseObject({ type: z.literal('object') }) }) }),
          ),
        }),
      }),
    });
    const schema = shape.parse(await jsonSchema());
    assert.deepEqual(Object.keys(schema.properties.plugins.properties), Object.keys(builtins));
  });
});
