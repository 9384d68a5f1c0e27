import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { scratch } from '../test/harness/scratch.js';
import { type LoadedConfig, type LoadOptions, loadConfig } from './load.js';

/** Writes files below a temporary directory; the first one is the configuration. */
async function withFiles(
  files: Readonly<Record<string, string>>,
  use: (config: LoadedConfig, directory: string) => Promise<void> | void,
  options: LoadOptions = {},
): Promise<void> {
  await using directory = await scratch('config');
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory.path, name)), { recursive: true });
    writeFileSync(join(directory.path, name), text);
  }
  const [first = ''] = Object.keys(files);
  await use(await loadConfig({ file: join(directory.path, first), ...options }), directory.path);
}

/** The problems of one file, its name shortened. */
async function problemsIn(name: string, text: string): Promise<string[]> {
  let lines: string[] = [];
  await withFiles({ [name]: text }, ({ problems }, directory) => {
    lines = problems.map(({ message }) => message.replaceAll(`${directory}/`, ''));
  });
  return lines;
}

async function failureOf(files: Readonly<Record<string, string>>): Promise<string> {
  let place = '';
  try {
    await withFiles(files, (_, directory) => {
      place = directory;
    });
  } catch (error) {
    assert.ok(error instanceof Error);
    return error.message.replaceAll(/\/\S*keelson-config-\w+\//g, '');
  }
  assert.fail(`it loaded in ${place}`);
}

describe('configuration files', () => {
  it('without any there are the defaults, with every plugin of the tree', async () => {
    const { settings, problems, files } = await loadConfig({ file: '/dev/null/../null.toml' }).catch(() =>
      loadConfig(),
    );
    assert.deepEqual([problems, files], [[], []]);
    assert.equal(settings.root, '/var/lib/keelson');
    assert.ok(Object.keys(settings.plugins).includes('content'));
  });

  const texts: Readonly<Record<string, string>> = {
    'c.toml': 'root = "/r"\n[log]\nlevel = "debug"\n[plugins.events.config]\nqueue = 5\n',
    'c.yaml': 'root: /r\nlog: { level: debug }\nplugins:\n  events:\n    config:\n      queue: 5\n',
    'c.yml': '---\nroot: "/r"\nlog:\n  level: debug\nplugins: {events: {config: {queue: 5}}}\n',
    'c.json': '{"root":"/r","log":{"level":"debug"},"plugins":{"events":{"config":{"queue":5}}}}',
    'package.json': '{"root":"/r","log":{"level":"debug"},"plugins":{"events":{"config":{"queue":5}}}}',
    'bom.toml': '\uFEFFroot = "/r"\nlog.level = "debug"\nplugins.events.config.queue = 5\n',
  };
  for (const [name, text] of Object.entries(texts))
    it(`${name} is laid over the defaults`, () =>
      withFiles({ [name]: text }, ({ settings, problems, files }, directory) => {
        assert.deepEqual(problems, []);
        assert.deepEqual(files, [join(directory, name)]);
        assert.equal(settings.root, '/r');
        assert.equal(settings.state, '/run/keelson');
        assert.equal(settings.log.level, 'debug');
        assert.deepEqual(settings.plugins.events, { config: { queue: 5 } });
        assert.deepEqual(settings.plugins.content, {});
      }));

  it('an empty one says nothing', () =>
    withFiles({ 'c.yaml': '# nothing\n' }, ({ settings, problems }) => {
      assert.deepEqual([problems, settings.root], [[], '/var/lib/keelson']);
    }));

  it('flags win, and are named when wrong', () =>
    withFiles(
      { 'c.toml': 'root = "/r"\n[plugins.server-grpc.config]\nuid = 5\n' },
      ({ settings, problems }) => {
        assert.equal(settings.root, '/flag');
        assert.deepEqual(settings.plugins['server-grpc'], { config: { uid: 5, address: '/x.sock' } });
        assert.deepEqual(
          problems.map(({ message }) => message),
          [
            'flag --log-level: log.level: found string "lud", expected "trace" or "debug" or "info" or "warn" or "error" or "fatal"',
          ],
        );
      },
      {
        overrides: [
          { flag: '--root', path: ['root'], value: '/flag' },
          { flag: '--address', path: ['plugins', 'server-grpc', 'config', 'address'], value: '/x.sock' },
          { flag: '--log-level', path: ['log', 'level'], value: 'lud' },
        ],
      },
    ));

  it('the sockets go by that of the API unless they are told otherwise', async () => {
    const configOf = ({ plugins }: LoadedConfig['settings'], id: string): unknown => plugins[id]?.config;
    await withFiles({ 'c.toml': '[plugins.server-grpc.config]\naddress = "/a.sock"\ngid = 7\n' }, ({ settings }) => {
      assert.deepEqual(configOf(settings, 'server-ttrpc'), { address: '/a.sock.ttrpc', gid: 7 });
      assert.deepEqual(configOf(settings, 'runtime-shim'), { address: '/a.sock', ttrpc_address: '/a.sock.ttrpc' });
    });
    const own = '[plugins.server-ttrpc.config]\naddress = "/t"\n[plugins.runtime-shim.config]\naddress = "/s"\n';
    await withFiles({ 'c.toml': own }, ({ settings }) => {
      assert.deepEqual(configOf(settings, 'server-ttrpc'), { address: '/t' });
      assert.deepEqual(configOf(settings, 'runtime-shim'), { address: '/s', ttrpc_address: '/t' });
    });
    await withFiles({ 'c.toml': '' }, ({ settings }) => assert.equal(configOf(settings, 'server-ttrpc'), undefined));
  });

  it('a path is relative to its file', () =>
    withFiles(
      { 'c.toml': '[plugins.x]\npath = "plugins/x.js"\n[plugins.y]\npath = "/abs/y.js"\n' },
      ({ settings }, at) => {
        assert.equal(settings.plugins.x?.path, join(at, 'plugins/x.js'));
        assert.equal(settings.plugins.y?.path, '/abs/y.js');
      },
    ));
});

describe('the working directory', () => {
  it('is never looked at, and no code is run', async () => {
    await using directory = await scratch('config');
    const before = process.cwd();
    mkdirSync(join(directory.path, '.config'));
    const bomb = 'throw new Error("executed")';
    for (const name of ['.config/config.js', '.config/config.cjs', 'keelson.config.js', '.keelsonrc.js', '.keelsonrc'])
      writeFileSync(join(directory.path, name), bomb);
    writeFileSync(
      join(directory.path, 'package.json'),
      '{"keelson":{"root":"/evil"},"cosmiconfig":{"searchPlaces":["evil"]}}',
    );
    writeFileSync(join(directory.path, 'config.toml'), 'root = "/evil"');
    process.chdir(directory.path);
    try {
      const { settings, files } = await loadConfig();
      assert.deepEqual([settings.root, files], ['/var/lib/keelson', []]);
      await assert.rejects(
        loadConfig({ file: 'keelson.config.js' }),
        /"\S*keelson\.config\.js" is of no known format; name it with \.toml, /,
      );
    } finally {
      process.chdir(before);
    }
  });

  it("`$import` is an unknown key, not cosmiconfig's import", async () => {
    assert.deepEqual(await problemsIn('c.json', '{"$import": "/etc/passwd"}'), [
      'c.json:1:2: "$import": found unknown key "$import", expected one of root, state, log, required_plugins, disabled_plugins, imports, plugins, proxy_plugins; did you mean "imports"?',
    ]);
  });
});

describe('errors', () => {
  const top = 'root, state, log, required_plugins, disabled_plugins, imports, plugins, proxy_plugins';
  const entry = 'package, path, required, enabled, start_deadline, stop_deadline, config';

  it('are all told at once, each with line and column, in TOML', async () => {
    const text = `# golden
rooot = "/x"
state = 5
disabled_plugins = ["a", 7]
required_plugins = "content"
log = { level = "inof", colour = true }

[plugins.content]
requierd = true
  enabled = "no"

[plugins."snapshot-overlay".config]
root_path = "/x"

[plugins.other]
path = "x.js"
start_deadline = -1
config = [1]
`;
    assert.deepEqual(await problemsIn('c.toml', text), [
      'c.toml:3:9: state: found number 5, expected string',
      'c.toml:6:17: log.level: found string "inof", expected "trace" or "debug" or "info" or "warn" or "error" or "fatal"; did you mean "info"?',
      'c.toml:6:25: log.colour: found unknown key "colour", expected one of level',
      'c.toml:5:20: required_plugins: found string "content", expected list',
      'c.toml:4:26: disabled_plugins[1]: found number 7, expected string',
      'c.toml:10:13: plugins.content.enabled: found string "no", expected boolean',
      `c.toml:9:1: plugins.content.requierd: found unknown key "requierd", expected one of ${entry}; did you mean "required"?`,
      'c.toml:17:18: plugins.other.start_deadline: found number -1: Too small: expected number to be >0',
      'c.toml:18:10: plugins.other.config: found list, expected table',
      `c.toml:2:1: rooot: found unknown key "rooot", expected one of ${top}; did you mean "root"?`,
    ]);
  });

  it('and in YAML and JSON', async () => {
    const yaml = 'state: 5\nplugins:\n  content:\n    requierd: true\n    enabled: "no"\nimports:\n  - 1\n';
    assert.deepEqual(await problemsIn('c.yaml', yaml), [
      'c.yaml:1:8: state: found number 5, expected string',
      'c.yaml:7:5: imports[0]: found number 1, expected string',
      'c.yaml:5:14: plugins.content.enabled: found string "no", expected boolean',
      `c.yaml:4:5: plugins.content.requierd: found unknown key "requierd", expected one of ${entry}; did you mean "required"?`,
    ]);
    const json = '{\n\t"state": null,\n\t"plugins": { "content": { "enabled": 1 } }\n}';
    assert.deepEqual(await problemsIn('c.json', json), [
      'c.json:2:11: state: found nothing, expected string',
      'c.json:3:39: plugins.content.enabled: found number 1, expected boolean',
    ]);
  });

  it('find keys however TOML spells them', async () => {
    const text = `log.level = 1
plugins.a.enabled = 1
plugins = { }
`;
    assert.match(await failureOf({ 'c.toml': text }), /^c\.toml:3:\d+: Invalid TOML document/);
    const spelled = `log.level = 1
[plugins]
a.enabled = 1
"b".'enabled' = 1
c = { enabled = 1, config.x = 1, nope = 1 }
[plugins.d]
  [ plugins . "e" ]
enabled = """
x"""
[[plugins.f]]
[[plugins.f]]
`;
    assert.deepEqual(await problemsIn('c.toml', spelled), [
      'c.toml:1:13: log.level: found number 1, expected "trace" or "debug" or "info" or "warn" or "error" or "fatal"',
      'c.toml:3:13: plugins.a.enabled: found number 1, expected boolean',
      'c.toml:4:17: plugins.b.enabled: found number 1, expected boolean',
      'c.toml:5:17: plugins.c.enabled: found number 1, expected boolean',
      `c.toml:5:34: plugins.c.nope: found unknown key "nope", expected one of ${entry}`,
      'c.toml:8:11: plugins.e.enabled: found string "x", expected boolean',
      'c.toml:10:11: plugins.f: found list, expected table',
    ]);
  });

  it('of syntax have a place too', async () => {
    assert.equal(await failureOf({ 'c.toml': 'a = 1\nb = = 2\n' }), 'c.toml:2:5: Invalid TOML document: invalid value');
    assert.match(
      await failureOf({ 'c.toml': 'a = 1\na = 2\n' }),
      /^c\.toml:2:\d+: Invalid TOML document: trying to redefine/,
    );
    assert.match(await failureOf({ 'c.yaml': 'a: 1\nb: [1\n' }), /^c\.yaml:3:1: invalid YAML: /);
    assert.match(await failureOf({ 'c.yaml': 'a: 1\na: 2\n' }), /^c\.yaml:2:1: invalid YAML: Map keys must be unique/);
    assert.equal(
      await failureOf({ 'c.json': '{"a": 1,\n "b" 2}' }),
      "c.json:2:6: invalid JSON: Expected ':' after property name",
    );
    assert.match(await failureOf({ 'c.yaml': '- 1\n' }), /^c\.yaml:1:1: found list, expected a table of settings/);
    assert.match(await failureOf({ 'c.json': '"x"' }), /^c\.json:1:1: found string "x", expected a table of settings/);
  });

  it('a named file must be there, and readable', async () => {
    await assert.rejects(
      loadConfig({ file: '/nowhere/c.toml' }),
      /configuration file "\/nowhere\/c\.toml" does not exist/,
    );
    await assert.rejects(loadConfig({ file: '/proc' }), /is of no known format|EISDIR/);
  });
});

describe('imports', () => {
  it('are read once each, in order, relative to their file, and override it', () =>
    withFiles(
      {
        'main.toml':
          'imports = ["conf.d/*.toml", "extra.yaml", "none*.toml"]\nroot = "/main"\nstate = "/main"\nrequired_plugins = ["a", "b"]\n[plugins.events.config]\nqueue = 1\n[plugins.x]\npath = "x.js"\n',
        'conf.d/20.toml':
          'imports = ["../main.toml", "deep/d.json"]\nroot = "/20"\nrequired_plugins = ["b", "c"]\n[plugins.y]\npath = "y.js"\n',
        'conf.d/10.toml': 'root = "/10"\nstate = "/10"\n[plugins.events]\nrequired = true\n',
        'conf.d/ignored.yaml': 'root: /ignored\n',
        'conf.d/deep/d.json': '{"plugins":{"events":{"config":{"queue":9}}}}',
        'extra.yaml': 'disabled_plugins: [z]\nlog: {level: trace}\n',
      },
      ({ settings, files, problems }, at) => {
        assert.deepEqual(problems, []);
        assert.deepEqual(
          files.map((file) => file.slice(at.length + 1)),
          ['main.toml', 'conf.d/10.toml', 'conf.d/20.toml', 'extra.yaml', 'conf.d/deep/d.json'],
        );
        assert.deepEqual([settings.root, settings.state, settings.log.level], ['/20', '/10', 'trace']);
        assert.deepEqual([settings.required_plugins, settings.disabled_plugins], [['a', 'b', 'c'], ['z']]);
        assert.deepEqual(settings.plugins.events, { required: true, config: { queue: 9 } });
        assert.deepEqual(
          [settings.plugins.x?.path, settings.plugins.y?.path],
          [join(at, 'x.js'), join(at, 'conf.d/y.js')],
        );
      },
    ));

  it('that are plain names must exist; the error says who asked', async () => {
    assert.equal(
      await failureOf({ 'c.toml': 'root = "/x"\nimports = ["gone.toml"]\n' }),
      'c.toml:2:11: imports: "gone.toml" does not exist',
    );
    assert.match(
      await failureOf({ 'c.toml': 'imports = ["code.js"]\n', 'code.js': '' }),
      /code\.js" is of no known format/,
    );
  });

  it('an error in an imported file is located there, in merged lists too', () =>
    withFiles(
      {
        'c.toml': 'imports = ["d.yaml"]\nrequired_plugins = ["a"]\n',
        'd.yaml': 'root: 1\nrequired_plugins:\n  - a\n  - 5\n',
      },
      ({ problems }, at) =>
        assert.deepEqual(
          problems.map(({ message }) => message),
          [
            `${at}/d.yaml:1:7: root: found number 1, expected string`,
            `${at}/d.yaml:4:5: required_plugins[1]: found number 5, expected string`,
          ],
        ),
    ));
});

describe('hostile text', () => {
  const texts: Readonly<Record<string, string>> = {
    'c.toml':
      '__proto__.polluted = 1\nconstructor.prototype.polluted = 1\n[plugins.__proto__]\nenabled = true\n[plugins.content.config.__proto__]\npolluted = 1\n[log.__proto__]\nlevel = "debug"\n',
    'c.yaml':
      '__proto__: {polluted: 1}\nplugins:\n  __proto__: {enabled: true}\n  content: {config: {__proto__: {polluted: 1}}}\nlog:\n  __proto__: {level: debug}\n',
    'c.json':
      '{"__proto__":{"polluted":1},"plugins":{"__proto__":{"enabled":true},"content":{"config":{"__proto__":{"polluted":1}}}},"log":{"__proto__":{"level":"debug"}}}',
  };
  for (const [name, text] of Object.entries(texts))
    it(`${name}: __proto__ is a key like any other`, () =>
      withFiles({ [name]: text }, ({ settings, problems }) => {
        assert.equal(Object.getOwnPropertyDescriptor(Object.prototype, 'polluted'), undefined);
        assert.ok(!('polluted' in {}));
        assert.equal(settings.log.level, 'info', 'nothing is inherited from it');
        assert.ok(problems.length > 0, 'it is told');
        assert.ok(problems.some(({ message }) => message.includes('found unknown key "__proto__"')));
      }));

  it('a YAML bomb is refused', async () => {
    const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(',')}]`);
    const failure = await failureOf({ 'c.yaml': `l0: &l0 [x]\n${levels.join('\n')}\n` });
    assert.match(failure, /alias/i);
  });
});
