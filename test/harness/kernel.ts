/** A real kernel for a test: in a temporary directory, gone when the block ends. */
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import { z } from 'zod';
import { builtins } from '../../config/builtins.js';
import { internal } from '../../kernel/errors.js';
import { createKernel, definePlugin, type Kernel, type Plugin, type PluginEntry } from '../../kernel/index.js';
import type { Token } from '../../kernel/token.js';
import { Holdings } from './holdings.js';
import { scratch } from './scratch.js';

export interface TestKernelOptions {
  /** Plugin values, or ids of plugins of the tree. Nothing else runs. */
  readonly plugins: readonly (Plugin | string)[];
  /** Section of a plugin by its id. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Further settings of a plugin by its id, for example `{ required: false }`. */
  readonly settings?: Readonly<Record<string, PluginEntry>>;
  /** A directory to use and keep, for a test that starts a second kernel on what the first one left. */
  readonly directory?: string;
  /** Default: silent; `KEELSON_TEST_LOG=debug` shows it on stderr. */
  readonly log?: Logger;
  /**
   * Disposal fails and names what is left when the kernel and its plugins have leaked: descriptors, timers and other
   * handles, children, mounts, processes. Nothing else of this process may come and go meanwhile. The number: milliseconds
   * that what is being closed may take to be gone.
   */
  readonly refuseLeaks?: number;
}

export interface TestKernel extends Kernel {
  /** Holds `root` and `state`. */
  readonly directory: string;
}

const logger = (): Logger =>
  pino({ level: process.env.KEELSON_TEST_LOG ?? 'silent' }, pino.destination({ dest: 2, sync: true }));

/**
 * Starts the given plugins for real. Every one of them is required: a plugin
 * that skips or fails makes this throw, unless `settings` says otherwise.
 * Disposal stops the kernel and removes its directory.
 */
export async function startTestKernel(options: TestKernelOptions): Promise<TestKernel> {
  const temporary = options.directory === undefined ? await scratch('kernel') : undefined;
  const directory = temporary?.path ?? options.directory ?? '';
  const { refuseLeaks } = options;
  const before = refuseLeaks === undefined ? undefined : await Holdings.now(directory);
  const entries = options.plugins.map((plugin) => {
    const id = typeof plugin === 'string' ? plugin : plugin.id;
    return [id, { required: true, config: options.config?.[id] ?? {}, ...options.settings?.[id] }] as const;
  });
  const values = options.plugins.filter((plugin) => typeof plugin !== 'string');
  const given = Object.fromEntries(values.map((plugin) => [plugin.id, async () => ({ plugin })]));
  const starter = createKernel(
    { root: join(directory, 'root'), state: join(directory, 'state'), plugins: Object.fromEntries(entries) },
    { builtins: { ...builtins, ...given }, log: options.log ?? logger() },
  );
  try {
    const kernel = await starter.start();
    const dispose = async (): Promise<void> => {
      await using releases = new AsyncDisposableStack();
      if (temporary) releases.use(temporary);
      await kernel.stop();
      const leaked = (await before?.leaked(refuseLeaks)) ?? [];
      if (leaked.length === 0) return;
      throw internal(`the kernel has stopped and left ${leaked.join('; ')}`, {
        remedy: 'release it in what the plugin gives to onStop',
      });
    };
    return {
      directory,
      report: kernel.report,
      get: kernel.get.bind(kernel),
      reload: kernel.reload.bind(kernel),
      advertise: kernel.advertise.bind(kernel),
      stop: () => kernel.stop(),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await temporary?.[Symbol.asyncDispose]();
    throw error;
  }
}

/** A plugin that offers a ready service: a fake in place of the real provider of a contract. */
export const providing = <T>(token: Token<T>, service: T, wireId = 'fake'): Plugin =>
  definePlugin({
    id: `fake-${token.id.replaceAll(/[^a-z0-9]/g, '-')}-${wireId}`,
    api: 1,
    wire: { type: `test.fake.${token.id.replaceAll(/[^a-z0-9]/g, '-')}`, id: wireId },
    config: z.object({}).strict(),
    requires: {},
    provides: { service: token },
    start: async () => ({ service }),
  });
