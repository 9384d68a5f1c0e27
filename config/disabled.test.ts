/** No plugin of the tree is indispensable: each can be left out, by configuration alone. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { KernelConfig, Plugin, Tokens } from '../kernel/index.js';
import { createKernel } from '../kernel/index.js';
import { type Scratch, scratch } from '../test/harness/scratch.js';
import { builtins } from './builtins.js';
import { loadConfig } from './load.js';

const plugins = new Map(
  await Promise.all(
    Object.entries(builtins).map(async ([id, load]): Promise<[string, Plugin]> => [id, (await load()).plugin]),
  ),
);

/** Tokens of one provider that the plugin names. */
const singles = (tokens: Tokens): string[] =>
  Object.values(tokens).flatMap(({ id, arity }) => (arity === 'one' ? [id] : []));

/** The plugins that cannot do without it, and those that cannot do without these. */
function dependents(gone: string): Set<string> {
  const found = new Set([gone]);
  for (const id of found) {
    const lost = singles(plugins.get(id)?.provides ?? {});
    for (const [other, { requires }] of plugins)
      if (singles(requires).some((token) => lost.includes(token))) found.add(other);
  }
  found.delete(gone);
  return found;
}

async function settingsIn(directory: Scratch) {
  const { settings } = await loadConfig({ overrides: [] });
  const at = (name: string): string => join(directory.path, name);
  const server = { config: { address: at('d.sock') } };
  return {
    ...settings,
    root: at('root'),
    state: at('state'),
    plugins: { ...settings.plugins, 'server-grpc': server },
  };
}

describe('each plugin of the tree, disabled alone', () => {
  for (const id of plugins.keys())
    it(`${id}: the daemon comes up, and says exactly what requires it`, async () => {
      await using directory = await scratch('disabled');
      const settings = await settingsIn(directory);
      const config: KernelConfig = { ...settings, disabled_plugins: [...settings.disabled_plugins, id] };
      await using kernel = await createKernel(config, { builtins }).start();
      const expected = dependents(id);
      const isOff = (other: string): boolean => config.plugins[other]?.enabled === false;
      for (const { id: other, outcome, reason = '' } of kernel.report.plugins()) {
        if (other === id) assert.equal(reason, 'disabled by configuration');
        else if (expected.has(other) && !isOff(other))
          assert.match(reason, new RegExp(`needs ".*" of ".*"${id}"|"${id}", which is disabled`));
        else assert.ok(outcome === 'ok' || outcome === 'skip' || isOff(other), `${other}: ${reason}`);
        assert.equal(outcome === 'disabled', other === id || expected.has(other) || isOff(other));
      }
    });
});
