import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parse, stringify } from 'smol-toml';
import { z } from 'zod';
import { builtins } from '../../config/builtins.js';
import { scratch } from '../../test/harness/scratch.js';

const execute = promisify(execFile);
const keelsond = (...args: string[]) => execute(process.execPath, [join(import.meta.dirname, 'main.js'), ...args]);

const failure = z.object({ code: z.number(), stderr: z.string() });

describe('keelsond config', () => {
  it('check tells every problem with its place and fails, or says that there is none', async () => {
    await using directory = await scratch('config');
    const file = join(directory.path, 'c.toml');
    writeFileSync(
      file,
      'rooot = 1\n[plugins.server-grpc.config]\nadress = "/x"\nuid = "root"\n[plugins.x]\npath = "gone.js"\n',
    );
    const { code, stderr } = failure.parse(await keelsond('config', 'check', file).catch((error) => error));
    assert.equal(code, 1);
    for (const line of [
      /c\.toml:1:1: rooot: found unknown key "rooot", .*; did you mean "root"\?/,
      /c\.toml:3:1: plugins\.server-grpc\.config\.adress: found unknown key "adress", .*; did you mean "address"\?/,
      /c\.toml:4:7: plugins\.server-grpc\.config\.uid: found string "root", expected number/,
      /plugin "x" \(path .*gone\.js\) cannot be imported: ENOENT/,
      /^keelsond: \d+ problems found$/m,
    ])
      assert.match(stderr, line);
    writeFileSync(file, stringify({ disabled_plugins: Object.keys(builtins) }));
    assert.equal((await keelsond('-c', file, 'config', 'check')).stdout, `${file}: no problems\n`);
    const gone = failure.parse(await keelsond('config', 'check', '/gone.toml').catch((error) => error));
    assert.equal(gone.stderr, 'keelsond: configuration file "/gone.toml" does not exist\n');
  });

  it('dump follows files and flags; schema and default are of the whole configuration', async () => {
    await using directory = await scratch('config');
    const file = join(directory.path, 'c.toml');
    writeFileSync(file, 'version = 2\nroot = "/x"\n[debug]\naddress = "/y"\n');
    const dumped = await keelsond('-c', file, '--state', '/flag', '-a', '/z.sock', 'config', 'dump');
    const shape = z.looseObject({
      root: z.string(),
      state: z.string(),
      plugins: z.looseObject({ 'server-grpc': z.looseObject({ config: z.looseObject({ address: z.string() }) }) }),
    });
    const { root, state, plugins } = shape.parse(parse(dumped.stdout));
    assert.deepEqual([root, state, plugins['server-grpc'].config.address], ['/x', '/flag', '/z.sock']);
    assert.match(dumped.stderr, /^warning: .*c\.toml:4:1: debug\.address: /);
    assert.match((await keelsond('config', 'default')).stdout, /^# address = "\/run\/keelson\/keelson\.sock"$/m);
    assert.equal(JSON.parse((await keelsond('config', 'schema')).stdout).title, 'Configuration of keelsond');
  });
});
