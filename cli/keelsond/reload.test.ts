/** `keelson reload` and SIGHUP on a real daemon. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { stringify } from 'smol-toml';
import { connect } from '../../client/index.js';
import { builtins } from '../../config/builtins.js';
import { run } from '../../test/harness/command.js';
import { Keelsond } from '../../test/harness/keelsond.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';

const KEELSON = join(import.meta.dirname, '../keelson/main.js');

/** A service plugin that answers Version with what its settings say, and stops only when told to. */
const SERVICE = `
  const config = { '~standard': { version: 1, vendor: 'none', validate: (value) => ({ value }) } };
  const definition = { fullName: 'test.v1.Word', methods: { say: { name: 'Say', requestStream: false, responseStream: false,
    requestType: { decode: (bytes) => bytes, encode: (b) => ({ finish: () => b }) },
    responseType: { decode: (bytes) => bytes, encode: (b) => ({ finish: () => b }) } } } };
  export const plugin = { id: 'word', api: 1, wire: { type: 'io.containerd.grpc.v1', id: 'word' }, config, requires: {},
    provides: { service: { id: 'grpc-service@1', key: Symbol.for('keelson/grpc-service@1'), arity: 'many' } },
    start: async ({ config: { word } }) => {
      if (word === undefined) throw new Error('a word is needed');
      return { service: { definition, handlers: { say: async () => new TextEncoder().encode(word) } } };
    } };`;

class Site {
  readonly directory: Scratch;
  readonly address: string;

  constructor(directory: Scratch) {
    this.directory = directory;
    this.address = join(directory.path, 'd.sock');
    writeFileSync(join(directory.path, 'word.mjs'), SERVICE);
    writeFileSync(join(directory.path, 'package.json'), JSON.stringify({ name: 'word', version: '3.2.1' }));
  }

  /** Writes the configuration: server, version, control, introspection, and what is given. */
  configure(plugins: object, more: object = {}): void {
    const kept = ['server-grpc', 'version', 'control', 'introspection', 'events', 'events-service'];
    const disabled_plugins = Object.keys(builtins).filter((id) => !kept.includes(id));
    writeFileSync(join(this.directory.path, 'config.toml'), stringify({ disabled_plugins, plugins, ...more }));
  }

  start(): Keelsond {
    return new Keelsond(this.directory, ['--address', this.address]);
  }

  reload(): ReturnType<typeof run> {
    return run(process.execPath, [KEELSON, '--address', this.address, 'reload']);
  }

  /** What introspection tells of the plugin. */
  async exported(...keys: readonly string[]): Promise<(string | undefined)[]> {
    using client = connect({ address: this.address });
    const { plugins } = await client.introspection.plugins({ filters: ['id==word'] });
    return keys.map((key) => plugins[0]?.exports[key]);
  }

  async word(): Promise<string> {
    using client = connect({ address: this.address });
    const codec = { encode: () => ({ finish: () => new Uint8Array() }), decode: (bytes: Uint8Array) => bytes };
    const say = { name: 'Say', requestType: codec, requestStream: false, responseType: codec, responseStream: false };
    const stub = client.service({ fullName: 'test.v1.Word', methods: { say } } as const);
    return Buffer.from(await stub.say(new Uint8Array())).toString();
  }
}

async function onSite(body: (site: Site, daemon: Keelsond) => Promise<void>): Promise<void> {
  await using directory = await scratch('reload');
  const site = new Site(directory);
  site.configure({});
  await using daemon = site.start();
  await daemon.says('"msg":"ready"');
  await body(site, daemon);
}

const word = (text: string) => ({ word: { path: 'word.mjs', config: { word: text } } });

describe('keelson reload', () => {
  it('adds, restarts and removes a service while a stream of another goes on, on one connection', () =>
    onSite(async (site) => {
      using client = connect({ address: site.address, namespace: 'default' });
      const events = client.events.subscribe({ filters: [] });
      await events.opened;
      await assert.rejects(site.word(), /UNIMPLEMENTED|does not implement|Unimplemented/i);

      site.configure(word('one'));
      assert.equal((await site.reload()).stdout, 'started: word\n');
      assert.equal(await site.word(), 'one');

      site.configure(word('two'));
      assert.equal((await site.reload()).stdout, 'restarted: word\n');
      assert.equal(await site.word(), 'two');
      assert.deepEqual(await site.exported('io.keelson.version', 'io.keelson.source'), [
        '3.2.1',
        `path ${join(site.directory.path, 'word.mjs')}`,
      ]);

      site.configure({});
      assert.equal((await site.reload()).stdout, 'stopped: word\n');
      await assert.rejects(site.word(), /"test.v1.Word" is no longer served/);
      assert.equal((await site.reload()).stdout, 'nothing to change\n');

      await client.events.publish({ topic: '/still/here', event: { typeUrl: 'x', value: new Uint8Array() } });
      assert.equal((await events.next()).value?.topic, '/still/here');
      events.cancel();
    }));

  it('a bad configuration changes nothing and says why, with its place', () =>
    onSite(async (site) => {
      site.configure(word('one'));
      await site.reload();
      const wrongs: [plugins: object, more: object, message: RegExp][] = [
        [{ wrod: {} }, {}, /config.toml:\d+:\d+: plugins.wrod: found "wrod"/],
        [{ 'server-grpc': { config: { adress: '/x' } } }, {}, /adress.*did you mean "address"/s],
        [word('one'), { rooot: '/x' }, /rooot/],
        [word('one'), { required_plugins: ['content'] }, /required plugin "content" ended as disabled/],
        [{ word: { path: 'word.mjs' } }, {}, /"word" ended as error: .*a word is needed/],
        [{ word: { path: 'gone.mjs' } }, {}, /"word" ended as error: .*cannot be imported/],
      ];
      for (const [plugins, more, message] of wrongs) {
        site.configure(plugins, more);
        const { code, stderr } = await site.reload();
        assert.equal(code, 1, stderr);
        assert.match(stderr, message);
        assert.equal(await site.word(), 'one', 'everything runs on');
      }
      writeFileSync(join(site.directory.path, 'config.toml'), 'a = = 1');
      assert.match((await site.reload()).stderr, /config.toml:1:5/);
    }));

  it('SIGHUP does the same; the outcome is in the log, whose level can change, too', () =>
    onSite(async (site, daemon) => {
      site.configure({}, { log: { level: 'warn' } });
      daemon.kill('SIGHUP');
      await daemon.says('"msg":"configuration reloaded"');
      site.configure(word('quiet'));
      assert.equal((await site.reload()).stdout, 'started: word\n');
      assert.ok(!daemon.output.includes('"plugin":"word"'), 'below the level');
      site.configure({ nobody: {} });
      daemon.kill('SIGHUP');
      await daemon.says(/found \\"nobody\\".*configuration not reloaded/);
      daemon.kill('SIGTERM');
      assert.equal(await daemon.ended, 0);
    }));

  it('the socket of the server itself can move', () =>
    onSite(async (site, daemon) => {
      const moved = join(site.directory.path, 'moved.sock');
      await using other = await scratch('reload');
      const second = new Site(other);
      second.configure({ 'server-grpc': { config: { address: moved } } });
      await using unflagged = new Keelsond(other, []);
      await unflagged.says('"msg":"ready"');
      second.configure({ 'server-grpc': { config: { address: `${moved}.new` } } });
      unflagged.kill('SIGHUP');
      await unflagged.says('"msg":"configuration reloaded"');
      using client = connect({ address: `${moved}.new` });
      await client.version.version({});
      daemon.kill('SIGTERM');
    }));
});
