import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { succeed } from '../test/harness/command.js';
import { scratch } from '../test/harness/scratch.js';

const BUNDLE = `(function(exports,require,module,url,filename){
  const { basename } = require('node:path');
  exports.greet = (name) => 'hello ' + name + ' from ' + basename(filename) + ' ' + url.startsWith('file:');
  exports.far = async () => (await import('./beside.mjs')).word;
})`;

/** Runs the bundle in a process of its own, which ends at once. */
function run(directory: string, digest: string, call: string): Promise<string> {
  const loader = new URL('code-cache.js', import.meta.url).href;
  const bundle = join(directory, 'a bundle');
  const script = `import { runBundle } from ${JSON.stringify(loader)};
    const bundle = runBundle(${JSON.stringify(bundle)}, ${JSON.stringify(digest)});
    process.stdout.write(await bundle.${call});`;
  return succeed(process.execPath, ['--input-type=module', '--eval', script]);
}

async function prepared(): Promise<AsyncDisposable & { readonly path: string; kept(): string[] }> {
  const directory = await scratch('code');
  writeFileSync(join(directory.path, 'a bundle'), BUNDLE);
  writeFileSync(join(directory.path, 'beside.mjs'), "export const word = 'far';");
  return {
    path: directory.path,
    kept: () => readdirSync(join(directory.path, '.cache')).map((name) => join(directory.path, '.cache', name)),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

describe('the code of a bundle', () => {
  it('is kept by the first run, used by the next, and refused and replaced when it is damaged', async () => {
    await using place = await prepared();
    assert.equal(await run(place.path, 'a', "greet('you')"), 'hello you from a bundle true');
    const [path = '', ...others] = place.kept();
    assert.deepEqual(others, []);
    const first = statSync(path).ino;
    assert.equal(await run(place.path, 'a', "greet('you')"), 'hello you from a bundle true');
    assert.equal(statSync(path).ino, first);
    const code = readFileSync(path);
    for (const damaged of [Buffer.alloc(0), Buffer.alloc(code.length), code.subarray(0, code.length / 2)]) {
      writeFileSync(path, damaged);
      assert.equal(await run(place.path, 'a', "greet('you')"), 'hello you from a bundle true');
      assert.ok(readFileSync(path).length > damaged.length / 2, 'it is written again');
      assert.notDeepEqual(readFileSync(path), damaged);
    }
  });

  it('is kept also of a program that ends while it is evaluated', async () => {
    await using place = await prepared();
    writeFileSync(join(place.path, 'a bundle'), '(function(){ process.exit(); })');
    await run(place.path, 'a', 'never()');
    assert.equal(place.kept().length, 1);
  });

  it('of another build is left alone, also when its source is as long', async () => {
    await using place = await prepared();
    await run(place.path, 'a', "greet('you')");
    writeFileSync(join(place.path, 'a bundle'), BUNDLE.replace('hello', 'howdy'));
    assert.equal(await run(place.path, 'b', "greet('you')"), 'howdy you from a bundle true');
    assert.equal(place.kept().length, 2);
  });

  it('may import what lies beside it', async () => {
    await using place = await prepared();
    assert.equal(await run(place.path, 'a', 'far()'), 'far');
    assert.equal(await run(place.path, 'a', 'far()'), 'far');
  });

  it('is done without where it cannot be kept', async () => {
    await using place = await prepared();
    writeFileSync(join(place.path, '.cache'), 'a file in its place');
    assert.equal(await run(place.path, 'a', "greet('you')"), 'hello you from a bundle true');
  });
});
