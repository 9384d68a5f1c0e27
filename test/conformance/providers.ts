/** Which plugins of the tree another one stands on, for kits that are given nothing but that one. */
import { builtins } from '../../config/builtins.js';
import { Differs } from '../../kernel/contracts/diff.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { tokensOf } from '../../kernel/plan.js';
import type { Plugin } from '../../kernel/plugin.js';

/** Who provides a `many` to a plugin that uses it. */
const USUAL: Readonly<Record<string, string>> = {
  [Snapshotters.id]: 'snapshot-vfs',
  [Differs.id]: 'diff',
  [Runtimes.id]: 'runtime-runc',
};

/** The plugins of the tree that provide, at first or second hand, what the plugin requires. */
export async function providersFor(plugin: Plugin, except: readonly string[] = []): Promise<readonly string[]> {
  const tree = await Promise.all(
    Object.entries(builtins).map(async ([id, read]): Promise<readonly [string, Plugin]> => [id, (await read()).plugin]),
  );
  const chosen = new Map<string, Plugin>();
  const add = (needing: Plugin): void => {
    for (const token of tokensOf(needing.requires)) {
      if (
        except.includes(token.id) ||
        tokensOf(plugin.provides).some(({ id, arity }) => id === token.id && arity === 'one')
      )
        continue;
      const provider =
        token.arity === 'many'
          ? tree.find(([id]) => id === USUAL[token.id])
          : tree.find(([, candidate]) => tokensOf(candidate.provides).some(({ id }) => id === token.id));
      if (provider === undefined || chosen.has(provider[0])) continue;
      chosen.set(...provider);
      add(provider[1]);
    }
  };
  add(plugin);
  return [...chosen.keys()];
}
