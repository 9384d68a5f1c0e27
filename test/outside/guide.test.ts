/**
 * The guide for plugin authors says nothing that was not tried: every snippet of docs/plugins is compiled against the
 * packed tarball, and run, outside the tree. The pages of one run share a directory, as the packages of one author
 * would; what a page writes is in a directory of its own there.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { before, describe, it } from 'node:test';
import { succeed } from '../harness/command.js';
import { outside, programIn, TOP } from '../harness/outside.js';
import { type Page, pagesBelow, type Snippet, snippetsOf } from './snippets.js';

const GUIDE = 'docs/plugins';
const { directory: installed, tarball, package: newPackage } = await outside();
const place = await newPackage('guide');
const pages = await pagesBelow(join(TOP, GUIDE));

const COMPILER = {
  target: 'es2024',
  lib: ['esnext'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
};

/** A directory for each page: sh, tests and configurations of the page run there. */
const directoryOf = ({ path }: Page): string => join(place, path.replace(/\.md$/, '').replaceAll('/', '-'));

async function write(file: string, text: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text, { mode });
}

/** The examples as packages that are installed. */
async function installExamples(): Promise<void> {
  for (const name of await readdir(join(TOP, 'examples'))) {
    if (name === 'quickstart') continue;
    const target = join(place, 'node_modules', `keelson-${name}`);
    await cp(join(TOP, 'examples', name), target, {
      recursive: true,
      filter: (path) => !/\/(dist|node_modules)$/.test(path),
    });
    await succeed(programIn(installed, 'tsc'), ['-p', target]);
  }
}

/**
 * npm as the snippets call it. The registry has no keelson of this tree: the tarball stands in for it. Installing runs
 * with the system's Node, as everywhere in the tests (see `npm` of the harness).
 */
const npmScript = (): string => `#!/bin/sh
PATH='${process.env.PATH}'
export npm_config_prefer_offline=true npm_config_audit=false npm_config_fund=false npm_config_loglevel=error
export npm_config_update_notifier=false
if [ "\${1-}" = install ]; then
  shift
  exec npm install --ignore-scripts '${tarball}' "$@"
fi
export PATH='${dirname(process.execPath)}':"$PATH"
exec npm "$@"
`;

/** A block that fails ends what it has in the background; one that does not has done so itself. */
const PRELUDE = `set -eu\ntrap '[ $? -eq 0 ] || [ -z "\${!:-}" ] || kill "$!"' EXIT\n`;

const path = (): string =>
  [join(place, 'bin'), join(installed, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(':');

async function run(page: Page, { language, file, text }: Snippet): Promise<void> {
  const cwd = directoryOf(page);
  const env = { PATH: path(), KEELSON_CONFORMANCE_REQUIRED: '1' };
  if (language === 'sh') await succeed('sh', ['-c', PRELUDE + text], { cwd, env });
  if (language === 'toml') await succeed('keelsond', ['--config', join(cwd, file), 'config', 'check'], { cwd, env });
  if (language !== 'ts') return;
  const module = join(cwd, file.replace(/\.ts$/, '.js'));
  await succeed(process.execPath, file.endsWith('.test.ts') ? ['--test', module] : [module], { cwd, env });
}

/** The file of the tree that a block is a copy of, its first line aside. */
const isCopy = ({ file }: Snippet): boolean => file.startsWith('examples/');
const copied = ({ text }: Snippet): string => text.slice(text.indexOf('\n') + 1);

before(async () => {
  await write(join(place, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await write(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER, include: ['*/**/*.ts'] }));
  await write(join(place, 'bin/npm'), npmScript(), 0o755);
  for (const page of pages)
    for (const { language, file, text } of page.snippets)
      if (language === 'ts' || language === 'toml') await write(join(directoryOf(page), file), text);
  for (const page of pages) await mkdir(directoryOf(page), { recursive: true });
  await installExamples();
});

describe('the snippets of the guide', () => {
  it('compile, strictly, against the packed tarball', async () => {
    await succeed(programIn(installed, 'tsc'), ['-p', place]);
  });

  for (const page of pages)
    for (const snippet of page.snippets.filter(({ language }) => language !== 'text'))
      it(`${page.path}:${snippet.line} ${snippet.language} ${snippet.file}`, () => run(page, snippet));
});

describe('the guide', () => {
  it('has no block that nobody looks at', () => {
    for (const block of [
      '```js\nx\n```',
      '```\nx\n```',
      '```ts\nx',
      '~~~ts\nx\n~~~',
      '- a\n  ```ts\n  x\n  ```',
      '    x',
    ])
      assert.throws(() => snippetsOf('page.md', block), /page\.md:\d+: /, block);
  });

  it('names no file of a page twice', () => {
    for (const { path: page, snippets } of pages) {
      const files = snippets.map(({ file }) => file);
      assert.equal(new Set(files).size, files.length, page);
    }
  });

  it('shows the tiny runtime and the tiny gRPC service as they are, in fewer than 60 lines each', async () => {
    const copies = pages.flatMap(({ snippets }) => snippets.filter(isCopy));
    for (const copy of copies) assert.equal(copied(copy), await readFile(join(TOP, copy.file), 'utf8'), copy.file);
    for (const name of ['runtime-oci', 'service-greeter']) {
      const tiny = copies.find(({ file }) => file === `examples/${name}/src/index.ts`);
      assert.ok(tiny, name);
      assert.ok(copied(tiny).trimEnd().split('\n').length < 60, name);
    }
  });

  it('has links that lead somewhere', async () => {
    for (const { path: page, text } of pages)
      for (const [, target = ''] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
        const file = normalize(join(TOP, GUIDE, dirname(page), target));
        await assert.doesNotReject(
          readFile(file).catch(() => readdir(file)),
          `${page}: ${target}`,
        );
      }
  });

  it('has an essay of at most a page for each contract, with every token and every method of it', async () => {
    for (const name of await readdir(join(TOP, 'kernel/contracts'))) {
      const contract = await readFile(join(TOP, 'kernel/contracts', name), 'utf8');
      const essay = pages.find(({ path: page }) => page === `contracts/${name.replace(/\.ts$/, '.md')}`)?.text ?? '';
      assert.ok(essay.includes(`../../../kernel/contracts/${name}`), `${name}: no essay, or no link to the contract`);
      assert.ok(essay.split('\n').length <= 90, `${name}: more than a page`);
      const tokens = [...contract.matchAll(/^export const (\w+) = (?:one|many)</gm)];
      const methods = [...contract.matchAll(/^ {2}(\w+)\??\(/gm)];
      for (const [, word] of [...tokens, ...methods]) assert.ok(essay.includes(`\`${word}\``), `${name}: ${word}`);
    }
  });

  it('names what stands in for each contract in a test', async () => {
    const testing = pages.find(({ path: page }) => page === 'testing.md')?.text ?? '';
    for (const name of await readdir(join(TOP, 'kernel/contracts'))) {
      const contract = await readFile(join(TOP, 'kernel/contracts', name), 'utf8');
      for (const [, token] of contract.matchAll(/^export const (\w+) = (?:one|many)</gm))
        assert.match(testing, new RegExp(`^\\|.*\`${token}\`.*\\|.+\\|$`, 'm'), `testing.md: ${token}`);
    }
  });

  it('is found from the top, and leads to every page', async () => {
    assert.match(await readFile(join(TOP, 'README.md'), 'utf8'), /\(docs\/plugins\/README\.md\)/);
    const index = pages.find(({ path: page }) => page === 'README.md')?.text ?? '';
    for (const { path: page } of pages) if (page !== 'README.md') assert.ok(index.includes(`](${page})`), page);
  });
});
