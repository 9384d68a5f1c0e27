/** `[proxy_plugins]`: each entry becomes a plugin of that name, made from its type. */
import { type Locate, type PluginEntry, place } from '../kernel/config.js';
import type { Manifest } from '../kernel/discover.js';
import { type Problem, problem } from '../kernel/errors.js';
import { typeOf } from '../lib/proxy-settings.js';
import { proxies } from './builtins.js';
import type { Settings } from './schema.js';

export interface Proxies {
  readonly plugins: Readonly<Record<string, PluginEntry>>;
  readonly manifest: Manifest;
  readonly problems: readonly Problem[];
}

export async function proxiesOf({ proxy_plugins, plugins }: Settings, locate: Locate): Promise<Proxies> {
  const entries: [string, PluginEntry][] = [];
  const loaders: [string, Manifest[string]][] = [];
  const problems: Problem[] = [];
  if (Object.keys(proxy_plugins).length === 0) return { plugins: {}, manifest: {}, problems };
  const { proxyPlugin } = await proxies();
  const refuse = async (name: string, why: string): Promise<void> => {
    const at = await place(locate, ['proxy_plugins', name], 'key');
    problems.push(problem('KEELSON_CONFIG', `${at}: ${why}`));
  };
  for (const [name, { enabled, required, ...config }] of Object.entries(proxy_plugins)) {
    const type = typeOf(config);
    if (Object.hasOwn(plugins, name)) await refuse(name, `found "${name}", which [plugins.${name}] is called, too`);
    else if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
      await refuse(name, `found "${name}", expected letters, digits, ".", "_" and "-"`);
    else {
      const plugin = proxyPlugin(name, type);
      entries.push([name, { config, ...(enabled !== undefined && { enabled }), ...(required && { required }) }]);
      loaders.push([name, async () => ({ plugin })]);
    }
  }
  return { plugins: Object.fromEntries(entries), manifest: Object.fromEntries(loaders), problems };
}
