/** Clumsy and malicious plugins under a real daemon: each has its outcome, and the daemon stays up. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from '../../client/index.js';
import type { PluginEntry } from '../../kernel/index.js';
import { run } from '../../test/harness/command.js';
import { eventually } from '../../test/harness/eventually.js';
import { configure, Keelsond } from '../../test/harness/keelsond.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';

const KEELSON = join(import.meta.dirname, '../keelson/main.js');
const SHORT = { stop_deadline: 0.5 };
const KEPT = ['server-grpc', 'version', 'control', 'introspection'];

interface Shape {
  readonly id?: string;
  readonly api?: number;
  readonly wire?: string;
  readonly requires?: string;
  readonly provides?: string;
  readonly start?: string;
}

const token = (id: string, arity: string): string =>
  `{ id: '${id}', key: Symbol.for('keelson/${id}'), arity: '${arity}' }`;

/** The text of a plugin module. */
const plugin = ({ id = 'clumsy', api = 1, wire = id, requires = '', provides = '', start = '' }: Shape): string => `
  const config = { '~standard': { version: 1, vendor: 'none', validate: (value) => ({ value }) } };
  export const plugin = { id: '${id}', api: ${api}, wire: { type: 'test', id: '${wire}' }, config,
    requires: { ${requires} }, provides: { ${provides} }, start: async ({ onStop }) => { ${start}; return {}; } };`;

class Trial {
  readonly #address: string;
  readonly daemon: Keelsond;

  constructor(directory: Scratch) {
    this.#address = join(directory.path, 'd.sock');
    this.daemon = new Keelsond(directory, ['--address', this.#address]);
  }

  keelson(...args: readonly string[]): ReturnType<typeof run> {
    return run(process.execPath, [KEELSON, '--address', this.#address, ...args]);
  }

  /** The line of `keelson plugins` about a plugin. */
  async line(id: string): Promise<string> {
    const { stdout, stderr } = await this.keelson('plugins');
    const line = stdout.split('\n').find((row) => row.split(/\s{2,}/)[2] === id);
    assert.ok(line !== undefined, `"${id}" is not named in:\n${stdout}${stderr}`);
    return line;
  }

  async isServing(): Promise<void> {
    using client = connect({ address: this.#address });
    await client.version.version({});
  }
}

/** Starts a daemon with these plugins beside its API; it must come up. */
async function withPlugins(
  plugins: Readonly<Record<string, string>>,
  body: (trial: Trial, directory: Scratch) => Promise<void>,
  entry: PluginEntry = {},
): Promise<void> {
  await using directory = await scratch('clumsy');
  configure(directory, plugins, [], KEPT, entry);
  const trial = new Trial(directory);
  await using daemon = trial.daemon;
  await daemon.says('"msg":"ready"');
  await trial.isServing();
  await body(trial, directory);
}

/** What `keelson plugins` says of plugin "clumsy". */
const comesTo = (title: string, text: string, expected: RegExp, entry: PluginEntry = {}): void =>
  void it(title, () =>
    withPlugins({ clumsy: text }, async (trial) => assert.match(await trial.line('clumsy'), expected), entry),
  );

describe('a clumsy plugin', () => {
  comesTo(
    'throws on import: error',
    "throw new Error('no luck'); export const plugin = 1;",
    /^io\.keelson\.unknown\.v1 +clumsy +clumsy +error .*path .*clumsy\.mjs +.*cannot be imported: no luck/,
  );
  comesTo(
    'exports the wrong shape: error',
    "export const plugin = { id: 'clumsy', api: 1, start: 5 };",
    / error .*wrong shape: "wire" must be .*"start" must be a function/,
  );
  comesTo(
    'was written for another API version: error',
    plugin({ api: 2 }),
    / error .*written for plugin API 2; this kernel speaks 1/,
  );
  comesTo(
    'returns without its service: error',
    plugin({ provides: `thing: ${token('thing@1', 'one')}` }),
    / error .*started without offering "thing" \(thing@1\)/,
  );
  comesTo(
    'never resolves its start: error after its deadline',
    plugin({ start: 'await new Promise(() => {})' }),
    / error .*did not start within 0\.5 s/,
    { start_deadline: 0.5 },
  );
  comesTo(
    'never ends its import: error after its deadline',
    'await new Promise(() => {}); export const plugin = 1;',
    / error .*still not evaluated after 0\.5 s/,
    { start_deadline: 0.5 },
  );
  comesTo('has the id of another: error', plugin({ id: 'version' }), / error .*calls itself "version"/);
  comesTo(
    'offers what is no gRPC service: harms nobody',
    plugin({ provides: `s: ${token('grpc-service@1', 'many')}`, start: "return { s: { definition: 'x' } }" }),
    / ok /,
  );

  it('has the wire name of another, or offers what another does: error, and the other runs', () =>
    withPlugins(
      {
        one: plugin({ id: 'one', wire: 'same', provides: `t: ${token('t@1', 'one')}`, start: 'return { t: 1 }' }),
        two: plugin({ id: 'two', wire: 'same' }),
        three: plugin({ id: 'three', provides: `t: ${token('t@1', 'one')}` }),
      },
      async (trial) => {
        assert.match(await trial.line('one'), / ok /);
        assert.match(await trial.line('two'), / error .*both "test\.same" on the wire/);
        assert.match(await trial.line('three'), / error .*both provide "t@1"/);
      },
    ));

  it('closes a circle of requirements: error, and who can do without it runs', () =>
    withPlugins(
      {
        one: plugin({
          id: 'one',
          requires: `b: ${token('b@1', 'many')}`,
          provides: `a: ${token('a@1', 'one')}`,
          start: 'return { a: 1 }',
        }),
        two: plugin({ id: 'two', requires: `a: ${token('a@1', 'one')}`, provides: `b: ${token('b@1', 'many')}` }),
      },
      async (trial) => {
        assert.match(await trial.line('one'), / ok /);
        assert.match(await trial.line('two'), / error .*"one" needs "b@1" of "two", "two" needs "a@1" of "one"/);
      },
    ));

  it('leaves a rejection unhandled later: it runs on, and is blamed', () =>
    withPlugins(
      { clumsy: plugin({ start: "setTimeout(() => { void Promise.reject(new Error('oops')); }, 200)" }) },
      async (trial) => {
        await trial.daemon.says(/"plugin":"clumsy","faults":1,.*unhandled rejection/);
        const line = await eventually('the fault is shown', async () => {
          const found = await trial.line('clumsy');
          return found.includes('fault') ? found : undefined;
        });
        assert.match(line, / ok .*1 faults, the last: unhandled rejection: oops/);
        await trial.isServing();
      },
    ));

  it('does not stop in time: a reload goes on and names it, and so does the end of the daemon, with exit code 1', () =>
    withPlugins(
      {
        clumsy: plugin({ start: 'onStop(() => new Promise(() => {}))' }),
        other: plugin({ id: 'other', start: 'onStop(() => new Promise(() => {}))' }),
      },
      async (trial, directory) => {
        configure(
          directory,
          { other: plugin({ id: 'other', start: 'onStop(() => new Promise(() => {}))' }) },
          [],
          KEPT,
          SHORT,
        );
        const { code, stdout } = await trial.keelson('reload');
        assert.equal(code, 0);
        assert.match(stdout, /stopped: clumsy\nproblem: plugin "clumsy" did not stop within 0\.5 s/);
        await trial.isServing();
        trial.daemon.kill('SIGTERM');
        assert.equal(await trial.daemon.ended, 1);
        assert.match(trial.daemon.output, /plugin \\?"other\\?" did not stop within 0\.5 s/);
      },
      SHORT,
    ));

  it('keeps the daemon down when it is required, and is named', async () => {
    await using directory = await scratch('clumsy');
    configure(directory, { clumsy: "throw new Error('no luck');" }, ['clumsy'], KEPT);
    await using daemon = new Keelsond(directory, []);
    assert.equal(await daemon.ended, 1);
    assert.match(daemon.output, /required plugin \\?"clumsy\\?" ended as error: .*no luck/);
  });
});
