/** The configuration of the running daemon: read again when asked, by signal or by call. */
import type { Logger } from 'pino';
import { z } from 'zod';
import { type LoadedConfig, type LoadOptions, loadConfig } from '../../config/load.js';
import { pluginVersion } from '../../config/plugin-version.js';
import { type Reloader, Reloaders } from '../../kernel/contracts/reloader.js';
import {
  type Change,
  createKernel,
  definePlugin,
  failedPrecondition,
  invalidArgument,
  type Kernel,
  type KernelConfig,
  type KernelOptions,
  type KernelStarter,
  messageOf,
  type Plugin,
} from '../../kernel/index.js';
import { setLevel } from './log.js';
import { notify } from './notify.js';

const optionsOf = ({ builtins, locate, packagesFrom }: LoadedConfig): KernelOptions => ({
  builtins,
  locate,
  packagesFrom,
});

export const starterOf = (config: LoadedConfig): KernelStarter => createKernel(config.kernel, optionsOf(config));

/** INVALID_ARGUMENT with everything that is wrong, in the plugins' sections too. */
async function refuseProblems(config: LoadedConfig): Promise<void> {
  if (config.problems.length === 0) return;
  const problems = [...config.problems, ...(await starterOf(config).inspect()).problems];
  throw invalidArgument(`the configuration has errors:\n  ${problems.map(({ message }) => message).join('\n  ')}`);
}

/** Only what was configured tells which package a plugin came from; of those of the tree introspection knows it. */
function showVersions(kernel: Kernel, { kernel: { plugins }, packagesFrom }: LoadedConfig): void {
  for (const [id, entry] of Object.entries(plugins ?? {})) {
    if (entry.package === undefined && entry.path === undefined) continue;
    const version = pluginVersion(entry, packagesFrom);
    if (version !== '') kernel.advertise(id, { exports: { 'io.keelson.version': version } });
  }
}

/** The daemon among its own plugins: through it others ask for a reload. */
const DAEMON = 'keelsond';

const daemonPlugin = (reloader: Reloader): Plugin =>
  definePlugin({
    id: DAEMON,
    api: 1,
    wire: { type: 'io.keelson.daemon.v1', id: DAEMON },
    config: z.object({}).strict(),
    requires: {},
    provides: { reloader: Reloaders },
    start: async () => ({ reloader }),
  });

export class Configuration {
  readonly #options: LoadOptions;
  readonly #log: Logger;
  readonly #plugin: Plugin;
  #loaded: LoadedConfig;
  #kernel: Kernel | undefined;

  constructor(options: LoadOptions, loaded: LoadedConfig, log: Logger) {
    this.#options = options;
    this.#loaded = loaded;
    this.#log = log;
    this.#plugin = daemonPlugin({ reload: () => this.reload() });
  }

  /** A kernel of what was loaded; it is the one that reloads change. */
  async start(stopping: AbortSignal): Promise<Kernel> {
    await refuseProblems(this.#loaded);
    const options = { ...this.#kernelOptions(this.#loaded), log: this.#log };
    this.#kernel = await createKernel(this.#withDaemon(this.#loaded), options).start(stopping);
    showVersions(this.#kernel, this.#loaded);
    return this.#kernel;
  }

  /** Errors as {@link Reloader.reload}; they are in the log, too. */
  async reload(): Promise<Change> {
    await notify('RELOADING=1', this.#log);
    try {
      const change = await this.#reload();
      this.#log.info(change, 'configuration reloaded');
      setLevel(this.#log, this.#loaded.settings.log.level);
      return change;
    } catch (error) {
      this.#log.error({ reason: messageOf(error) }, 'configuration not reloaded: everything runs on as before');
      throw error;
    } finally {
      await notify('READY=1', this.#log);
    }
  }

  async #reload(): Promise<Change> {
    const kernel = this.#kernel;
    if (kernel === undefined) throw failedPrecondition('the daemon is still starting');
    const next = await loadConfig(this.#options);
    await refuseProblems(next);
    for (const name of ['root', 'state'] as const) {
      if (next.settings[name] === this.#loaded.settings[name]) continue;
      const at = await next.locate([name], 'value');
      const remedy = `restart the daemon to leave "${this.#loaded.settings[name]}"`;
      throw failedPrecondition(`${at ?? name}: "${name}" cannot change while the daemon runs`, { remedy });
    }
    const change = await kernel.reload(this.#withDaemon(next), this.#kernelOptions(next));
    showVersions(kernel, next);
    for (const warning of next.warnings) this.#log.warn(warning);
    this.#loaded = next;
    return change;
  }

  #withDaemon({ kernel }: LoadedConfig): KernelConfig {
    return { ...kernel, plugins: { [DAEMON]: {}, ...kernel.plugins } };
  }

  #kernelOptions(config: LoadedConfig): KernelOptions {
    const options = optionsOf(config);
    return { ...options, builtins: { ...options.builtins, [DAEMON]: async () => ({ plugin: this.#plugin }) } };
  }
}
