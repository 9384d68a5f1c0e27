import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { type Scratch, scratch } from '../test/harness/scratch.js';
import {
  createKernel,
  definePlugin,
  hasCode,
  type Kernel,
  type KernelConfig,
  many,
  one,
  type Plugin,
  type PluginEntry,
  type Tokens,
} from './index.js';

interface Speaker {
  say(): string;
}
const Base = one<Speaker>('reload-base@1');
const Middle = one<Speaker>('reload-middle@1');
const Drivers = many<Speaker>('reload-driver@1');

/** What happened, in order: `+id` for a start, `-id` for a stop. */
class Stage {
  readonly happened: string[] = [];
  readonly #directory: Scratch;
  readonly plugins: Readonly<Record<string, Plugin>>;

  constructor(directory: Scratch) {
    this.#directory = directory;
    const list = [
      this.#plugin('base', {}, { base: Base }),
      this.#plugin('other-base', {}, { base: Base }),
      this.#plugin('middle', { base: Base }, { middle: Middle }),
      this.#plugin('top', { middle: Middle }, {}),
      this.#plugin('driver', {}, { driver: Drivers }),
      this.#plugin('user', { drivers: Drivers }, {}),
      this.#plugin('alone', {}, {}),
    ];
    this.plugins = Object.fromEntries(list.map((plugin) => [plugin.id, plugin]));
  }

  #plugin(id: string, requires: Tokens, provides: Tokens): Plugin {
    const { happened } = this;
    return definePlugin({
      id,
      api: 1,
      wire: { type: 'test.v1', id },
      config: z.object({ word: z.string().default(id), fails: z.boolean().default(false) }).strict(),
      requires,
      provides,
      async start({ config, onStop }) {
        if (config.fails) throw new Error('told to fail');
        happened.push(`+${id}`);
        onStop(() => {
          happened.push(`-${id}`);
        });
        return Object.fromEntries(Object.keys(provides).map((name) => [name, { say: () => config.word }]));
      },
    });
  }

  config(plugins: Readonly<Record<string, PluginEntry>>, more: Partial<KernelConfig> = {}): KernelConfig {
    const at = (name: string): string => join(this.#directory.path, name);
    return { root: at('root'), state: at('state'), plugins, ...more };
  }

  start(plugins: Readonly<Record<string, PluginEntry>>): Promise<Kernel> {
    const builtins = Object.fromEntries(
      Object.entries(this.plugins).map(([id, plugin]) => [id, async () => ({ plugin })]),
    );
    return createKernel(this.config(plugins), { builtins }).start();
  }

  /** What has happened since the last look. */
  look(): string {
    return this.happened.splice(0).join(' ');
  }
}

async function onStage(
  plugins: Readonly<Record<string, PluginEntry>>,
  body: (stage: Stage, kernel: Kernel) => Promise<void>,
): Promise<void> {
  await using directory = await scratch('reload');
  const stage = new Stage(directory);
  await using kernel = await stage.start(plugins);
  stage.look();
  await body(stage, kernel);
}

const outcomes = (kernel: Kernel): string =>
  kernel.report
    .plugins()
    .map(({ id, outcome }) => `${id}:${outcome}`)
    .sort()
    .join(' ');

const CHAIN = { base: {}, middle: {}, top: {}, alone: {} };

describe('reload', () => {
  it('changes nothing when nothing changed', () =>
    onStage(CHAIN, async (stage, kernel) => {
      const settled = { base: { config: { word: 'base' } }, middle: { stop_deadline: 3 }, top: {}, alone: {} };
      assert.deepEqual(await kernel.reload(stage.config(settled)), { stopped: [], started: [], problems: [] });
      assert.equal(stage.look(), '');
    }));

  it('restarts what has new settings, and what stands on it, in order; nothing else', () =>
    onStage(CHAIN, async (stage, kernel) => {
      const change = await kernel.reload(stage.config({ ...CHAIN, base: { config: { word: 'new' } } }));
      assert.equal(stage.look(), '-top -middle -base +base +middle +top');
      assert.deepEqual(change, {
        stopped: ['top', 'middle', 'base'],
        started: ['base', 'middle', 'top'],
        problems: [],
      });
      assert.equal(kernel.get(Base).say(), 'new');
    }));

  it('adds and removes; a live map shows it, and those who use the map are left alone', () =>
    onStage({ user: {} }, async (stage, kernel) => {
      const drivers = kernel.get(Drivers);
      await kernel.reload(stage.config({ user: {}, driver: {} }));
      assert.equal(stage.look(), '+driver');
      assert.equal(drivers.get('driver')?.say(), 'driver');
      await kernel.reload(stage.config({ user: {} }));
      assert.equal(stage.look(), '-driver');
      assert.equal(drivers.size, 0);
      assert.equal(outcomes(kernel), 'user:ok');
    }));

  it('replaces the provider of a service, and restarts who requires it', () =>
    onStage(CHAIN, async (stage, kernel) => {
      await kernel.reload(stage.config({ 'other-base': {}, middle: {}, top: {}, alone: {} }));
      assert.equal(stage.look(), '-top -middle -base +other-base +middle +top');
      assert.equal(kernel.get(Base).say(), 'other-base');
    }));

  it('stops what a disabled plugin carried, and starts it again when it is back', () =>
    onStage(CHAIN, async (stage, kernel) => {
      await kernel.reload(stage.config(CHAIN, { disabled_plugins: ['base'] }));
      assert.equal(stage.look(), '-top -middle -base');
      assert.equal(outcomes(kernel), 'alone:ok base:disabled middle:disabled top:disabled');
      await kernel.reload(stage.config(CHAIN));
      assert.equal(stage.look(), '+base +middle +top');
    }));

  it('a configuration with a problem changes nothing and says all that is wrong', () =>
    onStage(CHAIN, async (stage, kernel) => {
      const bad = { middle: { config: { wrod: 'x' } }, top: {}, alone: {}, nobody: {} };
      await assert.rejects(kernel.reload(stage.config(bad)), /wrod[\s\S]*did you mean "word"/);
      await assert.rejects(kernel.reload(stage.config(bad)), /found "nobody", expected a plugin of the tree/);
      assert.equal(stage.look(), '');
      assert.equal(outcomes(kernel), 'alone:ok base:ok middle:ok top:ok');
    }));

  it('a plugin that fails with its new settings brings the old ones back, and says why', () =>
    onStage(CHAIN, async (stage, kernel) => {
      const bad = { ...CHAIN, middle: { config: { fails: true } } };
      await assert.rejects(kernel.reload(stage.config(bad)), /"middle" ended as error: .*told to fail/);
      assert.equal(stage.look(), '-top -middle +middle +top');
      assert.equal(outcomes(kernel), 'alone:ok base:ok middle:ok top:ok');
    }));

  it('a new plugin that fails is told of and keeps nothing back; the next reload tries it again', () =>
    onStage({ alone: {} }, async (stage, kernel) => {
      const change = await kernel.reload(stage.config({ alone: {}, base: { config: { fails: true } } }));
      assert.match(change.problems.join(), /"base" failed to start: told to fail/);
      assert.equal(outcomes(kernel), 'alone:ok base:error');
      assert.deepEqual((await kernel.reload(stage.config({ alone: {}, base: {} }))).started, ['base']);
    }));

  it('what is advertised later, too, is shown after a reload', () =>
    onStage({ alone: {} }, async (stage, kernel) => {
      await kernel.reload(stage.config({ alone: { stop_deadline: 1 } }));
      kernel.advertise('alone', { exports: { state: 'fine' } });
      kernel.advertise('nobody', {});
      assert.deepEqual(kernel.report.plugins()[0]?.exports, { state: 'fine' });
    }));

  it('reloads wait for each other, and a stop for both; after it there is none', () =>
    onStage({ alone: {} }, async (stage, kernel) => {
      const turns = ['one', 'two'].map((word) => kernel.reload(stage.config({ alone: { config: { word } } })));
      await Promise.all(turns);
      assert.equal(stage.look(), '-alone +alone -alone +alone');
      await kernel.stop();
      const late = kernel.reload(stage.config({ base: {} }));
      await assert.rejects(late, (error) => hasCode(error, 'CANCELED'));
    }));

  it('a map can be watched; what watches lets go before the provider stops', () =>
    onStage({ driver: {} }, async (stage, kernel) => {
      const watching = definePlugin({
        id: 'watcher',
        api: 1,
        wire: { type: 'test.v1', id: 'watcher' },
        config: z.object({}).strict(),
        requires: { drivers: Drivers },
        provides: {},
        async start({ deps, onStop }) {
          const end = deps.drivers.watch({
            added: (id) => void stage.happened.push(`sees ${id}`),
            removed: async (id) => {
              await new Promise(setImmediate);
              stage.happened.push(`lets go of ${id}`);
            },
          });
          onStop(end);
          return {};
        },
      });
      const builtins = {
        watcher: async () => ({ plugin: watching }),
        driver: async () => ({ plugin: stage.plugins.driver }),
      };
      await kernel.reload(stage.config({ watcher: {} }), { builtins });
      assert.equal(stage.look(), '-driver');
      await kernel.reload(stage.config({ watcher: {}, driver: {} }), { builtins });
      await kernel.reload(stage.config({ watcher: {} }), { builtins });
      assert.equal(stage.look(), '+driver sees driver lets go of driver -driver');
    }));
});
