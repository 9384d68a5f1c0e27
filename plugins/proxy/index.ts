import { Content, ContentStore } from '../../kernel/contracts/content.js';
import { Differs } from '../../kernel/contracts/diff.js';
import { Leases } from '../../kernel/contracts/leases.js';
import { SandboxControllers } from '../../kernel/contracts/sandbox-controllers.js';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { definePlugin, type Plugin, type StartContext, type Tokens } from '../../kernel/plugin.js';
import { type ProxyType, proxySettings } from '../../lib/proxy-settings.js';
import { ProxyContentStore } from './content.js';
import { ProxyDiffer } from './differ.js';
import { SupervisedProcess } from './process.js';
import { Remote } from './remote.js';
import { ProxySandboxController } from './sandbox-controller.js';
import { ProxySnapshotter } from './snapshotter.js';

/** Connects, starts the process when that is asked for, and shows clients what is to be seen of it. */
function attach(
  name: string,
  { config, log, advertise, onStop, stateDir }: StartContext<typeof proxySettings, Tokens>,
): Remote {
  const { platform, exports, capabilities, command } = config;
  advertise({ capabilities, exports, platforms: platform === '' ? [] : [platform] });
  const remote = new Remote(name, config);
  onStop(() => remote.close());
  if (command.length === 0) return remote;
  const show = (state: string): void => advertise({ exports: { 'io.keelson.process': state } });
  const process = new SupervisedProcess({ settings: config, directory: stateDir(), log, show });
  onStop(() => process.stop());
  process.start();
  return remote;
}

/** One for each type; each makes the plugin of one configured process. */
const MAKERS: Readonly<Record<ProxyType, (name: string) => Plugin>> = {
  'io.containerd.snapshotter.v1': (name) =>
    definePlugin({
      id: name,
      api: 1,
      wire: { type: 'io.containerd.snapshotter.v1', id: name },
      config: proxySettings,
      requires: {},
      provides: { snapshotter: Snapshotters },
      async start(context) {
        return { snapshotter: new ProxySnapshotter(attach(name, context), context.config.capabilities) };
      },
    }),
  'io.containerd.content.v1': (name) =>
    definePlugin({
      id: name,
      api: 1,
      wire: { type: 'io.containerd.content.v1', id: name },
      config: proxySettings,
      requires: {},
      provides: { store: ContentStore },
      start: async (context) => ({ store: new ProxyContentStore(attach(name, context)) }),
    }),
  'io.containerd.differ.v1': (name) =>
    definePlugin({
      id: name,
      api: 1,
      wire: { type: 'io.containerd.differ.v1', id: name },
      config: proxySettings,
      requires: { content: Content, leases: Leases },
      provides: { differ: Differs },
      async start(context) {
        const { config, deps } = context;
        return { differ: new ProxyDiffer(attach(name, context), { ...deps, namespace: config.namespace }) };
      },
    }),
  'io.containerd.sandbox.controller.v1': (name) =>
    definePlugin({
      id: name,
      api: 1,
      wire: { type: 'io.containerd.sandbox.controller.v1', id: name },
      config: proxySettings,
      requires: {},
      provides: { controller: SandboxControllers },
      start: async (context) => ({ controller: new ProxySandboxController(attach(name, context)) }),
    }),
};

/** By type and name: a reload leaves alone what is the same plugin with the same settings. */
const made = new Map<string, Plugin>();

/** The plugin that stands for a process outside, the same one each time. */
export function proxyPlugin(name: string, type: ProxyType): Plugin {
  const key = `${type}.${name}`;
  const plugin = made.get(key) ?? MAKERS[type](name);
  made.set(key, plugin);
  return plugin;
}
