import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { pino } from 'pino';
import { z } from 'zod';
import { type Scratch, scratch } from '../test/harness/scratch.js';
import {
  activePlugin,
  createKernel,
  definePlugin,
  hasCode,
  type Kernel,
  KernelError,
  type KernelOptions,
  many,
  one,
  type Plugin,
  type PluginEntry,
  PluginReport,
  type Tokens,
} from './index.js';

interface Store {
  get(): string;
}
const Store = one<Store>('test-store@1');
const Other = one<Store>('test-other@1');
const Drivers = many<Store>('test-driver@1');

const nothing = z.object({}).strict();
const blank = (id: string) => ({ id, api: 1, wire: { type: 'test.v1', id }, config: nothing }) as const;

/** A plugin that offers a store saying its id for each token it provides. */
const simple = (id: string, requires: Tokens = {}, provides: Tokens = {}): Plugin =>
  definePlugin({
    ...blank(id),
    requires,
    provides,
    start: async () => Object.fromEntries(Object.keys(provides).map((name) => [name, { get: () => id }])),
  });

const failing = (id: string, provides: Tokens = {}): Plugin => ({
  ...simple(id, {}, provides),
  start: () => Promise.reject(new Error('the disk is on fire')),
});

interface Setting {
  readonly plugins: readonly unknown[];
  readonly entries?: Readonly<Record<string, PluginEntry>>;
  readonly required?: readonly string[];
  readonly disabled?: readonly string[];
  readonly options?: KernelOptions;
}

const idOf = (plugin: unknown): string => z.object({ id: z.string() }).safeParse(plugin).data?.id ?? 'not-a-plugin';

function starter(directory: Scratch, { plugins, entries = {}, required, disabled, options }: Setting) {
  const builtins = Object.fromEntries(plugins.map((plugin) => [idOf(plugin), async () => ({ plugin })]));
  return createKernel(
    {
      root: join(directory.path, 'root'),
      state: join(directory.path, 'state'),
      plugins: { ...Object.fromEntries(Object.keys(builtins).map((id) => [id, {}])), ...entries },
      ...(required && { required_plugins: required }),
      ...(disabled && { disabled_plugins: disabled }),
    },
    { ...options, builtins: { ...builtins, ...options?.builtins } },
  );
}

/** Starts, hands over and stops. */
async function withKernel(setting: Setting, use: (kernel: Kernel, directory: string) => Promise<void> | void) {
  await using directory = await scratch('kernel');
  await using kernel = await starter(directory, setting).start();
  await use(kernel, directory.path);
}

async function startError(setting: Setting): Promise<KernelError> {
  await using directory = await scratch('kernel');
  const error = await starter(directory, setting)
    .start()
    .then(
      () => assert.fail('it started'),
      (thrown: unknown) => thrown,
    );
  assert.ok(error instanceof KernelError, String(error));
  return error;
}

const situations = (error: KernelError): string[] => error.problems.map(({ situation }) => situation);

const status = (kernel: Kernel, id: string) => {
  const found = kernel.report.plugins().find((plugin) => plugin.id === id);
  assert.ok(found);
  return found;
};

/** A logger whose records can be looked at. */
function recorder(): { readonly log: Logger; readonly records: Record<string, unknown>[] } {
  const records: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => records.push(JSON.parse(line)) });
  return { log, records };
}

describe('wiring', () => {
  it('hands each plugin exactly the services it requires, in graph order', async () => {
    const seen: string[] = [];
    const reader = definePlugin({
      ...blank('reader'),
      requires: { store: Store, drivers: Drivers, report: PluginReport },
      provides: {},
      start: async ({ deps }) => {
        seen.push(deps.store.get(), ...[...deps.drivers].map(([key, driver]) => `${key}=${driver.get()}`));
        seen.push(
          deps.report
            .plugins()
            .map(({ outcome }) => outcome ?? 'waiting')
            .join(),
        );
        return {};
      },
    });
    const plugins = [
      reader,
      simple('b', {}, { x: Drivers }),
      simple('a', {}, { x: Drivers }),
      simple('s', {}, { x: Store }),
    ];
    await withKernel({ plugins }, (kernel) => {
      assert.deepEqual(seen, ['s', 'b=b', 'a=a', 'ok,ok,ok,waiting']);
      assert.equal(kernel.get(Store).get(), 's');
      assert.deepEqual([...kernel.get(Drivers).keys()], ['b', 'a']);
      assert.deepEqual(status(kernel, 'reader').requires, ['test.v1']);
      assert.deepEqual(
        kernel.report.plugins().map(({ id }) => id),
        ['b', 'a', 's', 'reader'],
      );
      assert.throws(
        () => kernel.get(Other),
        (error) => hasCode(error, 'NOT_FOUND'),
      );
    });
  });

  it('starts who provides nothing last, so that nobody is served by half a daemon', async () => {
    const plugins = [
      simple('server', { drivers: Drivers }),
      simple('a', {}, { x: Drivers }),
      simple('watcher'),
      simple('late', {}, { x: Store }),
    ];
    await withKernel({ plugins }, (kernel) =>
      assert.deepEqual(
        kernel.report.plugins().map(({ id }) => id),
        ['a', 'late', 'server', 'watcher'],
      ),
    );
  });

  it('shows a many-valued service as a map that is live and read-only', async () => {
    let live: ReadonlyMap<string, Store> = new Map();
    const plugins = [
      simple('a', {}, { x: Drivers }),
      definePlugin({
        ...blank('reader'),
        requires: { drivers: Drivers },
        provides: {},
        start: async ({ deps }) => {
          live = deps.drivers;
          return {};
        },
      }),
    ];
    await withKernel({ plugins }, () => {
      assert.equal(live.size, 1);
      assert.ok(live.has('a'));
      assert.equal(live.get('a')?.get(), 'a');
      for (const change of ['set', 'delete', 'clear'])
        assert.throws(() => Reflect.get(live, change)(), /cannot be changed/);
      const each: string[] = [];
      live.forEach((_, key, map) => {
        assert.equal(map, live);
        each.push(key);
      });
      assert.deepEqual([each, [...live.keys()], [...live.values()].length, [...live].length], [['a'], ['a'], 1, 1]);
    });
    assert.equal(live.size, 0, 'a stopped provider is gone from the map');
  });

  it('of plugins that clash the first in the configuration starts; each other one is told of by name', async () => {
    const clash = { ...simple('clash', {}, {}), wire: { type: 'test.v1', id: 's1' } };
    const plugins = [
      simple('s1', {}, { x: Store }),
      simple('s2', {}, { x: Store }),
      simple('hole', { other: Other }),
      simple('usurper', {}, { r: PluginReport }),
      clash,
      simple('untyped', { s: many<Store>('test-store@1') }),
      simple('user', { s: Store }),
    ];
    await withKernel({ plugins }, (kernel) => {
      const told = kernel.report.plugins().map(({ id, outcome, reason = '' }) => [id, `${outcome} ${reason}`]);
      const expected: [string, RegExp][] = [
        ['s1', /^ok $/],
        ['s2', /"s2" \(built-in\) and "s1" \(built-in\) both provide "test-store@1"; disable one/],
        ['hole', /plugin "hole" needs "test-other@1", which no plugin provides/],
        ['usurper', /"usurper" \(built-in\) and the kernel both provide "plugin-report@1"/],
        ['clash', /"clash" \(built-in\) and "s1" \(built-in\) are both "test.v1.s1" on the wire/],
        ['untyped', /"test-store@1" is 'many' to "untyped" \(built-in\) and 'one' to "s1"/],
        ['user', /^ok $/],
      ];
      for (const [id, pattern] of expected) assert.match(Object.fromEntries(told)[id] ?? '', pattern);
      assert.equal(kernel.get(Store).get(), 's1');
    });
    const error = await startError({ plugins, required: ['clash'] });
    assert.match(error.message, /required plugin "clash" ended as error: .*both "test.v1.s1" on the wire/);
  });

  it('shows a cycle with its whole path, and leaves out who was configured last of it', async () => {
    const plugins = [
      simple('outside', { s: Store }),
      simple('b', { drivers: Drivers }, { x: Other }),
      simple('c', { store: Store }, { x: Drivers }),
      simple('a', { other: Other }, { x: Store }),
      simple('apart', { other: Other }),
    ];
    await withKernel({ plugins }, (kernel) => {
      const told = new Map(kernel.report.plugins().map(({ id, outcome, reason = '' }) => [id, `${outcome} ${reason}`]));
      assert.match(
        told.get('a') ?? '',
        /^error .*"b" needs "test-driver@1" of "c", "c" needs "test-store@1" of "a", "a" needs "test-other@1" of "b"; "a"/,
      );
      assert.match(told.get('outside') ?? '', /^error plugin "outside" needs "test-store@1" of "a"/);
      assert.match(told.get('c') ?? '', /^error plugin "c" needs "test-store@1" of "a"/);
      assert.deepEqual([told.get('b'), told.get('apart')], ['ok ', 'ok '], 'many may be empty');
    });
  });
});

describe('what a plugin can come to', () => {
  it('error: it throws; what needs it is error too, with the chain; the others run', async () => {
    const { log, records } = recorder();
    const plugins = [
      failing('bad', { x: Store }),
      simple('mid', { s: Store }, { x: Other }),
      simple('top', { o: Other }),
      simple('fine'),
    ];
    await withKernel({ plugins, options: { log } }, (kernel) => {
      assert.equal(status(kernel, 'bad').outcome, 'error');
      assert.equal(status(kernel, 'bad').reason, 'plugin "bad" failed to start: the disk is on fire');
      assert.equal(status(kernel, 'top').outcome, 'error');
      assert.match(
        status(kernel, 'top').reason ?? '',
        /"top" needs "test-other@1" of "mid", which did not start: plugin "mid" needs "test-store@1" of "bad", which did not start: .* on fire/,
      );
      assert.equal(status(kernel, 'fine').outcome, 'ok');
    });
    assert.ok(records.some(({ situation, plugin }) => situation === 'KEELSON_START_FAILED' && plugin === 'bad'));
  });

  it('skip: with its reason, handed on to what needs it', async () => {
    const skipper = definePlugin({
      ...blank('zfs'),
      requires: {},
      provides: { x: Store },
      start: async ({ skip }) => skip('this host has no ZFS'),
    });
    await withKernel({ plugins: [skipper, simple('top', { s: Store })] }, (kernel) => {
      assert.deepEqual([status(kernel, 'zfs').outcome, status(kernel, 'zfs').reason], ['skip', 'this host has no ZFS']);
      assert.equal(status(kernel, 'top').outcome, 'skip');
    });
  });

  it('disabled: by id, by wire name and by entry, never started; what needs it is disabled too', async () => {
    const plugins = [simple('a', {}, { x: Store }), simple('b'), failing('c'), simple('top', { s: Store })];
    const setting = {
      plugins,
      disabled: ['a', 'test.v1.b', 'io.containerd.grpc.v1.cri'],
      entries: { c: { enabled: false } },
    };
    await withKernel(setting, (kernel) => {
      for (const id of ['a', 'b', 'c', 'top']) assert.equal(status(kernel, id).outcome, 'disabled', id);
      assert.equal(status(kernel, 'top').reason, 'plugin "top" needs "test-store@1" of "a", which is disabled');
    });
  });

  it('a required plugin that skips, fails or is disabled keeps the kernel from starting', async () => {
    const byName = await startError({ plugins: [failing('bad')], required: ['test.v1.bad'] });
    assert.deepEqual(situations(byName), ['KEELSON_REQUIRED']);
    assert.equal(byName.code, 'FAILED_PRECONDITION');
    assert.match(byName.message, /required plugin "bad" ended as error: .* on fire/);
    const byEntry = await startError({ plugins: [failing('bad')], entries: { bad: { required: true } } });
    assert.deepEqual(situations(byEntry), ['KEELSON_REQUIRED']);
    const disabled = await startError({ plugins: [simple('a')], required: ['a'], disabled: ['a'] });
    assert.deepEqual(situations(disabled), ['KEELSON_REQUIRED']);
    const chained = await startError({
      plugins: [failing('bad', { x: Store }), simple('top', { s: Store })],
      required: ['top'],
    });
    assert.match(chained.message, /required plugin "top" ended as error: .*"bad".* on fire/);
    const stranger = await startError({ plugins: [simple('overlay')], required: ['overley'] });
    assert.deepEqual(situations(stranger), ['KEELSON_UNKNOWN_PLUGIN']);
    assert.match(stranger.message, /required_plugins\[0\]: found "overley".*did you mean "overlay"\?/);
  });

  it('ok: with time taken, capabilities, exports and platforms', async () => {
    const plugin = definePlugin({
      ...blank('a'),
      requires: {},
      provides: {},
      start: async ({ advertise }) => {
        advertise({ capabilities: ['rebase'], exports: { root: '/x' } });
        advertise({ platforms: ['linux/amd64'], exports: { more: 'y' } });
        await sleep(20);
        return {};
      },
    });
    await withKernel({ plugins: [plugin] }, (kernel) => {
      const { startMillis, ...rest } = status(kernel, 'a');
      assert.ok(startMillis >= 15 && startMillis < 5000);
      assert.deepEqual(rest, {
        id: 'a',
        wire: { type: 'test.v1', id: 'a' },
        outcome: 'ok',
        capabilities: ['rebase'],
        exports: { root: '/x', more: 'y' },
        platforms: ['linux/amd64'],
        requires: [],
        source: 'built-in',
      });
    });
  });
});

describe('clumsy and malicious plugins', () => {
  const modules: readonly (readonly [string, string, RegExp, string])[] = [
    ['throws on import', 'throw new Error("boom")', /cannot be imported: boom/, 'KEELSON_IMPORT'],
    ['exports nothing', 'export const x = 1', /exports no "plugin"/, 'KEELSON_NOT_A_PLUGIN'],
    [
      'exports something else',
      'export const plugin = { id: "p", api: 1 }',
      /"wire" must be .*"start" must be a function/,
      'KEELSON_NOT_A_PLUGIN',
    ],
    [
      'was written for another kernel',
      'export const plugin = { id: "p", api: 2 }',
      /was written for plugin API 2; this kernel speaks 1/,
      'KEELSON_API_VERSION',
    ],
    ['does not exist', '', /cannot be imported: .*absent\.mjs/, 'KEELSON_IMPORT'],
  ];
  for (const [title, text, expected, situation] of modules)
    it(`a module that ${title} is an error with its reason, and a start failure when required`, async () => {
      await using directory = await scratch('kernel');
      const path = join(directory.path, text === '' ? 'absent.mjs' : 'plugin.mjs');
      if (text !== '') writeFileSync(path, text);
      const { log, records } = recorder();
      const setting = { plugins: [simple('fine'), simple('top')], entries: { p: { path } }, options: { log } };
      {
        await using kernel = await starter(directory, setting).start();
        assert.match(status(kernel, 'p').reason ?? '', expected);
        assert.deepEqual([status(kernel, 'p').outcome, status(kernel, 'p').source], ['error', `path ${path}`]);
        assert.equal(status(kernel, 'fine').outcome, 'ok');
      }
      assert.ok(
        records.some((record) => record.situation === situation),
        'it is in the log',
      );
      assert.deepEqual(
        (await starter(directory, setting).inspect()).problems.map((problem) => problem.situation),
        [situation],
      );
      await assert.rejects(starter(directory, { ...setting, required: ['p'] }).start(), expected);
    });

  it('one that calls itself otherwise than configured is refused', async () => {
    const plugins = [simple('a')];
    await withKernel(
      { plugins, entries: { b: {} }, options: { builtins: { b: async () => ({ plugin: simple('c') }) } } },
      (kernel) => {
        assert.match(status(kernel, 'b').reason ?? '', /calls itself "c"; configure it as \[plugins\.c\]/);
      },
    );
  });

  it('an import that never ends and a start that never resolves are given up by name', async () => {
    const { log, records } = recorder();
    const stuck = { ...simple('stuck', {}, { x: Store }), start: () => new Promise<never>(() => {}) };
    await using directory = await scratch('kernel');
    const path = join(directory.path, 'endless.mjs');
    writeFileSync(path, 'setInterval(() => {}, 1e6).unref(); await new Promise(() => {})');
    const setting = {
      plugins: [stuck, simple('top', { s: Store }), simple('fine')],
      entries: { stuck: { start_deadline: 0.05 }, endless: { path, start_deadline: 0.05 } },
    };
    await withKernel({ ...setting, options: { log } }, (kernel) => {
      assert.match(
        status(kernel, 'stuck').reason ?? '',
        /plugin "stuck" did not start within 0.05 s; it probably awaits/,
      );
      assert.match(
        status(kernel, 'endless').reason ?? '',
        /cannot be imported: it is still not evaluated after 0.05 s/,
      );
      assert.equal(status(kernel, 'top').outcome, 'error');
      assert.equal(status(kernel, 'fine').outcome, 'ok');
    });
    assert.ok(records.some(({ situation }) => situation === 'KEELSON_START_DEADLINE'));
  });

  it('one that starts too late has its signal aborted and its late releases run at once', async () => {
    const released: string[] = [];
    const late = definePlugin({
      ...blank('late'),
      requires: {},
      provides: {},
      start: async ({ onStop, signal }) => {
        onStop(() => void released.push('early'));
        await sleep(100);
        assert.ok(signal.aborted);
        onStop(() => void released.push('late'));
        return {};
      },
    });
    await withKernel({ plugins: [late], entries: { late: { start_deadline: 0.02 } } }, async () => {
      assert.deepEqual(released, ['early']);
      await sleep(150);
      assert.deepEqual(released, ['early', 'late']);
    });
  });

  it('one that returns without its service is an error that names it', async () => {
    const liar = { ...simple('liar', {}, { store: Store, other: Other }), start: async () => ({ other: {} }) };
    await withKernel({ plugins: [liar] }, (kernel) => {
      assert.match(status(kernel, 'liar').reason ?? '', /started without offering "store" \(test-store@1\);/);
    });
  });

  it('what it throws later can be traced to it', async () => {
    let seen: string | undefined;
    const gone = definePlugin({
      ...blank('gone'),
      requires: {},
      provides: {},
      start: async () => {
        setTimeout(() => {
          seen = activePlugin();
        }, 5);
        return {};
      },
    });
    await withKernel({ plugins: [gone] }, async () => {
      await sleep(30);
      assert.equal(seen, 'gone');
      assert.equal(activePlugin(), undefined);
    });
  });

  it("a service missing because its provider cannot be imported is that plugin's error, not a plan failure", async () => {
    await using directory = await scratch('kernel');
    const path = join(directory.path, 'plugin.mjs');
    writeFileSync(path, 'throw new Error("boom")');
    await using kernel = await starter(directory, {
      plugins: [simple('top', { s: Store })],
      entries: { p: { path } },
    }).start();
    assert.match(
      status(kernel, 'top').reason ?? '',
      /needs "test-store@1", which no plugin provides; perhaps "p" would, but: .*boom/,
    );
  });
});

describe('packages', () => {
  it('are found from the given directories, by exports conditions or main', async () => {
    await using directory = await scratch('kernel');
    const text = (id: string) => `
      const config = { '~standard': { version: 1, vendor: 'none', validate: (value) => ({ value }) } };
      export const plugin = { id: '${id}', api: 1, wire: { type: 't', id: '${id}' }, config, requires: {}, provides: {}, start: async () => ({}) };`;
    const layouts = {
      'by-string': { type: 'module', exports: './lib/main.js' },
      'by-condition': {
        type: 'module',
        exports: { '.': { types: './x.d.ts', import: './lib/main.js' }, './x': './y.js' },
      },
      'by-main': { type: 'module', main: 'lib/main.js' },
    };
    for (const [name, manifest] of Object.entries(layouts)) {
      const folder = join(directory.path, 'node_modules', name);
      mkdirSync(join(folder, 'lib'), { recursive: true });
      writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, ...manifest }));
      writeFileSync(join(folder, 'lib/main.js'), text(name));
    }
    const entries = {
      ...Object.fromEntries(Object.keys(layouts).map((name) => [name, { package: name }])),
      absent: { package: 'keelson-no-such-package' },
      folder: { path: join(directory.path, 'node_modules/by-main') },
    };
    await using kernel = await starter(directory, {
      plugins: [],
      entries,
      options: { packagesFrom: [directory.path] },
    }).start();
    for (const name of Object.keys(layouts)) assert.equal(status(kernel, name).reason, undefined);
    assert.equal(status(kernel, 'by-main').source, 'package by-main');
    assert.match(status(kernel, 'absent').reason ?? '', /"keelson-no-such-package" is not installed/);
    assert.match(status(kernel, 'folder').reason ?? '', /calls itself "by-main"/);
  });
});

describe('sections', () => {
  const strict = {
    ...simple('net'),
    config: z
      .object({
        address: z.string(),
        port: z.number().int().max(65535).default(1),
        mode: z.enum(['open', 'closed']).default('open'),
      })
      .strict(),
  };

  it('every problem of every section, and of the plan, is told at once with place, found and expected', async () => {
    const places: Record<string, string> = {
      'plugins.net.config.prot key': 'x.toml:3:1',
      'plugins.net.config.mode value': 'x.toml:4:8',
    };
    const error = await startError({
      plugins: [strict, simple('hole', { s: Store })],
      entries: { net: { config: { prot: 1, mode: 'opne' } }, hole: { config: { x: 1 } }, ovrlay: {} },
      options: {
        builtins: { overlay: async () => ({}) },
        locate: async (path, at) => places[`${path.map(String).join('.')} ${at}`],
      },
    });
    assert.deepEqual(
      error.message
        .split('\n')
        .slice(1)
        .map((line) => line.trim()),
      [
        'plugins.ovrlay: found "ovrlay", expected a plugin of the tree, or a "package" or "path" that holds it; did you mean "overlay"?',
        'plugins.net.config.address: found nothing, expected string',
        'x.toml:4:8: plugins.net.config.mode: found string "opne", expected "open" or "closed"; did you mean "open"?',
        'x.toml:3:1: plugins.net.config.prot: found unknown key "prot", expected one of address, port, mode; did you mean "port"?',
        'plugins.hole.config.x: found unknown key "x", expected no keys here',
      ],
    );
  });

  it('a schema of any library will do', async () => {
    const config = {
      '~standard': {
        version: 1 as const,
        vendor: 'own',
        validate: () => ({ issues: [{ message: 'must be odd', path: [{ key: 'n' }] }] }),
      },
    };
    const error = await startError({ plugins: [{ ...simple('own'), config }], entries: { own: { config: { n: 2 } } } });
    assert.match(error.message, /plugins\.own\.config\.n: found number 2: must be odd/);
  });
});

describe('stopping', () => {
  const tracked = (id: string, log: string[], requires: Tokens = {}, provides: Tokens = {}): Plugin => ({
    ...simple(id, requires, provides),
    start: async ({ onStop }) => {
      onStop(() => void log.push(`${id} first`));
      onStop(async () => {
        await sleep(5);
        log.push(`${id} second`);
      });
      return Object.fromEntries(Object.keys(provides).map((name) => [name, { get: () => id }]));
    },
  });

  it('runs releases in reverse order, once', async () => {
    const log: string[] = [];
    await using directory = await scratch('kernel');
    const plugins = [tracked('top', log, { s: Store }), tracked('base', log, {}, { x: Store })];
    const kernel = await starter(directory, { plugins }).start();
    await Promise.all([kernel.stop(), kernel.stop()]);
    await kernel.stop();
    assert.deepEqual(log, ['top second', 'top first', 'base second', 'base first']);
  });

  it('releases what a failed start acquired, and everything when a required plugin fails', async () => {
    const log: string[] = [];
    const half: Plugin = {
      ...simple('half'),
      start: async ({ onStop }) => {
        onStop(() => void log.push('half'));
        throw new Error('no');
      },
    };
    await startError({ plugins: [tracked('base', log), half], required: ['half'] });
    assert.deepEqual(log, ['half', 'base second', 'base first']);
  });

  it('collects and logs what fails or hangs, and goes on', async () => {
    const { log, records } = recorder();
    const done: string[] = [];
    const bad: Plugin = {
      ...simple('bad'),
      start: async ({ onStop }) => {
        onStop(() => void done.push('after the hang'));
        onStop(() => new Promise(() => {}));
        onStop(() => {
          throw new Error('cannot close');
        });
        return {};
      },
    };
    await using directory = await scratch('kernel');
    const setting = {
      plugins: [tracked('base', done), bad],
      entries: { bad: { stop_deadline: 0.05 } },
      options: { log },
    };
    const kernel = await starter(directory, setting).start();
    await assert.rejects(kernel.stop(), (error) => {
      assert.ok(error instanceof KernelError);
      assert.deepEqual(situations(error), ['KEELSON_STOP_FAILED', 'KEELSON_STOP_DEADLINE']);
      return true;
    });
    assert.deepEqual(done, ['after the hang', 'base second', 'base first']);
    assert.deepEqual(
      records.filter(({ level }) => level === 50).map(({ situation }) => situation),
      ['KEELSON_STOP_FAILED', 'KEELSON_STOP_DEADLINE'],
    );
  });

  it('a signal stops a start between plugins and aborts the one that is starting', async () => {
    const log: string[] = [];
    const stop = new AbortController();
    const waiting: Plugin = {
      ...simple('waiting'),
      start: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('interrupted')))),
    };
    await using directory = await scratch('kernel');
    const started = starter(directory, { plugins: [tracked('base', log), waiting, tracked('never', log)] }).start(
      stop.signal,
    );
    setTimeout(() => stop.abort(), 20);
    await assert.rejects(started, (error) => hasCode(error, 'CANCELED'));
    assert.deepEqual(log, ['base second', 'base first']);
  });
});

describe('embedding', () => {
  it('leaves the process alone: no handlers, no output, nothing that keeps it running', async () => {
    const events = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'uncaughtException', 'unhandledRejection', 'exit'];
    const listeners = () => events.map((event) => process.listenerCount(event));
    const before = listeners();
    await withKernel({ plugins: [simple('a', {}, { x: Store }), failing('b')] }, (kernel) => {
      assert.deepEqual(listeners(), before);
      assert.equal(kernel.get(Store).get(), 'a');
    });
    await using directory = await scratch('kernel');
    const program = `
      import { createKernel } from ${JSON.stringify(join(import.meta.dirname, 'index.js'))};
      await createKernel({ root: process.argv[1], state: process.argv[1] + '-state', plugins: { gone: { path: '/gone.js' } } }).start();`;
    const args = ['--input-type=module', '-e', program, join(directory.path, 'root')];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    assert.deepEqual([status, stdout, stderr], [0, '', '']);
  });
});

describe('directories', () => {
  it('are made with tight modes, whatever was there, and only when asked for', async () => {
    const paths: string[] = [];
    const asks: Plugin = {
      ...simple('asks'),
      start: async ({ rootDir, stateDir }) => {
        paths.push(rootDir(), stateDir(), rootDir());
        return {};
      },
    };
    await using directory = await scratch('kernel');
    mkdirSync(join(directory.path, 'root'), { mode: 0o777 });
    await using kernel = await starter(directory, { plugins: [asks, simple('silent')] }).start();
    assert.equal(status(kernel, 'asks').outcome, 'ok');
    const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8);
    assert.deepEqual(
      paths.map((path) => path.slice(directory.path.length)),
      ['/root/test.v1.asks', '/state/test.v1.asks', '/root/test.v1.asks'],
    );
    assert.deepEqual(paths.map(mode), ['700', '700', '700']);
    assert.deepEqual([mode(join(directory.path, 'root')), mode(join(directory.path, 'state'))], ['700', '711']);
    assert.throws(() => statSync(join(directory.path, 'root/test.v1.silent')));
  });

  it('root and state must differ and be possible', async () => {
    const same = createKernel({ root: '/dev/null/x', state: '/dev/null/x', plugins: {} });
    await assert.rejects(same.start(), /"root" and "state" are both "\/dev\/null\/x"/);
    const impossible = createKernel({ root: '/dev/null/x', state: '/dev/null/y', plugins: {} });
    await assert.rejects(impossible.start(), /cannot make "\/dev\/null\/x" and "\/dev\/null\/y": ENOTDIR/);
  });

  it('one kernel per root: a second one is told the pid, the first is unaffected, and death frees it', async () => {
    await using directory = await scratch('kernel');
    const first = await starter(directory, { plugins: [simple('a', {}, { x: Store })] }).start();
    await assert.rejects(starter(directory, { plugins: [] }).start(), new RegExp(`in use by process ${process.pid};`));
    assert.equal(first.get(Store).get(), 'a');
    const child = `
      import { createKernel } from ${JSON.stringify(join(import.meta.dirname, 'index.js'))};
      try { await createKernel({ root: process.argv[1], state: process.argv[1] + '-state', plugins: {} }).start(); console.log('started'); process.kill(process.pid, 'SIGKILL') }
      catch (error) { console.log(error.problems[0].situation); }`;
    const run = () =>
      spawnSync(process.execPath, ['--input-type=module', '-e', child, join(directory.path, 'root')], {
        encoding: 'utf8',
      }).stdout.trim();
    assert.equal(run(), 'KEELSON_LOCKED');
    await first.stop();
    assert.equal(run(), 'started');
    assert.equal(run(), 'started', 'a holder that was killed holds nothing');
    await (await starter(directory, { plugins: [] }).start()).stop();
  });
});
