/**
 * Bundles every program into dist/programs/: the command lines of cli/, and
 * what they start beside themselves (lib/program.ts). Runs after tsc.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { join, relative } from 'node:path';
import { build, transform } from 'esbuild';
import { PROCESSES, THREADS } from './dist/lib/program.js';

const top = import.meta.dirname;
const outdir = join(top, 'dist/programs');

/** The commit being built; empty outside a clone. */
function revision() {
  try {
    const git = ['-C', top, 'describe', '--always', '--dirty', '--match='];
    return execFileSync('git', git, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

/** Parts that few runs need: each is a file of its own, read only when it is imported. */
const APART = {
  'keelsond-daemon': 'cli/keelsond/daemon',
  'keelsond-config': 'cli/keelsond/config-actions',
  'keelsond-publish': 'cli/keelsond/publish',
  'config-places': 'config/places',
  'config-yaml': 'config/yaml',
};

/**
 * What starts from code that an earlier run has compiled: a bundle NAME.bundle, which NAME.cjs runs. Not the worker
 * threads, whose code is small, and not what few runs need.
 */
const isKeptCompiled = (name) =>
  commandLines.some(([commandLine]) => commandLine === name) ||
  Object.hasOwn(PROCESSES, name) ||
  name === 'keelsond-daemon';

/** The kits are read as plugin packages read them: from the compiled files that the package exports. */
const KITS = 'test/conformance/command';

const commandLines = readdirSync(join(top, 'cli'))
  .filter((name) => existsSync(join(top, 'cli', name, 'main.ts')))
  .map((name) => [name, `cli/${name}/main`]);
const beside = Object.entries({ ...THREADS, ...PROCESSES }).filter(([, source]) =>
  existsSync(join(top, `${source}.ts`)),
);
const entryPoints = Object.fromEntries(
  [...commandLines, ...beside, ...Object.entries(APART)].map(([name, source]) => [name, join(top, `${source}.ts`)]),
);

/** cosmiconfig's own loaders, which config/load.ts replaces, and what grpc-js needs for services we do not offer. */
const NEVER_LOADED = ['js-yaml', 'import-fresh', 'parse-json', 'typescript', '@grpc/proto-loader'];

/** zod brings its messages in fifty languages, a third of the daemon's code; the others are left out. */
const englishOnly = {
  name: 'english-only',
  setup({ onResolve }) {
    onResolve({ filter: /locales\/index\.js$/ }, ({ resolveDir, importer }) =>
      importer.includes('/zod/') ? { path: join(resolveDir, '../locales/en.js') } : undefined,
    );
  },
};

const readApart = {
  name: 'read-apart',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
      if (kind !== 'dynamic-import') return undefined;
      const source = relative(top, join(resolveDir, path)).replace(/\.js$/, '');
      if (source === KITS) return { path: `../${KITS}.js`, external: true };
      const name = Object.keys(APART).find((key) => APART[key] === source);
      if (name === undefined) return undefined;
      // Required, not imported: a start does without Node's loader of modules.
      return isKeptCompiled(name) ? { path: name, namespace: 'apart' } : { path: `./${name}.js`, external: true };
    });
    onResolve({ filter: /./, namespace: 'apart' }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /./, namespace: 'apart' }, ({ path }) => ({
      contents: `module.exports = require('./${path}.cjs')`,
    }));
  },
};

/** What is used of a namespace can be told apart, what is used of an object cannot: half of zod stays away, and 6 ms. */
const zodByName = {
  name: 'zod-by-name',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const contents = readFileSync(path, 'utf8').replace(/^import \{ z \} from 'zod';$/m, "import * as z from 'zod';");
      return { contents, loader: 'ts' };
    });
  },
};

/**
 * Names within functions of packages, and of what is generated, are shortened: less to read and to look up before the
 * first line runs. Those that stacks show stay: of methods, of classes, and of all that is ours.
 */
const shorterWithin = {
  name: 'shorter-within',
  setup({ onLoad }) {
    onLoad({ filter: /\/(node_modules\/.+\.c?js|api\/gen\/.+\.ts)$/ }, async ({ path }) => {
      const contents = readFileSync(path, 'utf8');
      const loader = path.endsWith('.ts') ? 'ts' : 'js';
      return { contents: (await transform(contents, { loader, minifyIdentifiers: true, target: 'node26' })).code };
    });
  },
};

/** What packages read at once and few runs use, or none of ours: it is read where it is used. */
const SELDOM_USED = [
  // grpc-js serves without a client of its own, but for services that we do not offer.
  {
    file: /grpc-js\/build\/src\/(channelz|orca)\.js$/,
    eager: 'const make_client_1 = require("./make-client");',
    uses: ['make_client_1.', 'require("./make-client").'],
  },
  // pino logs by threads to who asks for it.
  {
    file: /pino\/lib\/transport\.js$/,
    eager: "const ThreadStream = require('thread-stream')",
    uses: ['new ThreadStream(', "new (require('thread-stream'))("],
  },
  // Who makes a logger matters to those threads alone, and V8 looks for it through every line of the bundle.
  {
    file: /pino\/pino\.js$/,
    eager: "const caller = require('./lib/caller')",
    uses: ['caller()', 'undefined'],
  },
];

const seldomUsed = {
  name: 'seldom-used',
  setup({ onLoad }) {
    for (const { file, eager, uses } of SELDOM_USED)
      onLoad({ filter: file }, ({ path }) => {
        const contents = readFileSync(path, 'utf8');
        for (const text of [eager, uses[0]])
          if (!contents.includes(text)) throw new Error(`${path} does not say "${text}" any more`);
        return { contents: contents.replace(eager, '').replaceAll(...uses) };
      });
  },
};

/**
 * Node takes long to find a package, and koffi three of them, to come to its native part, for which it looks into Node
 * itself. In a bundle it is found from there; where packages are laid out so that it cannot be, or Node is of another
 * kind, koffi finds it itself.
 */
const KOFFI = createRequire(import.meta.url).resolve('koffi');

const koffiInside = {
  name: 'koffi-inside',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$/ }, ({ namespace }) =>
      namespace === 'koffi' ? { path: 'koffi', external: true } : { path: 'koffi', namespace: 'koffi' },
    );
    onLoad({ filter: /./, namespace: 'koffi' }, () => ({
      contents: `try { module.exports = require(${JSON.stringify(KOFFI)}); } catch { module.exports = require('koffi'); }`,
      resolveDir: top,
    }));
    onResolve({ filter: /^@koromix\/koffi-linux-(x64|arm64)/ }, ({ path, namespace }) =>
      namespace === 'koffi-native' ? { path, external: true } : { path, namespace: 'koffi-native' },
    );
    onLoad({ filter: /./, namespace: 'koffi-native' }, ({ path }) => {
      const native = `${path}/${path.replace(/^.*-(linux)-/, '$1_')}/koffi.node`;
      return {
        contents: `try { module.exports = require('${native}'); } catch { module.exports = require('${path}'); }`,
      };
    });
  },
};

/**
 * esbuild gives each file that imports a CommonJS module an object of its own with a getter for every name in it:
 * ten thousand of them for Node's parts, made at each start. What `nodeOnDemand` makes needs none.
 */
const STANDS_FOR_ITSELF = '__standsForItself';

function sparePartsTheirCopies(path) {
  const contents = readFileSync(path, 'utf8');
  const helper = /__toESM=\((\w+),(\w+),(\w+)\)=>\(/;
  if (!helper.test(contents)) throw new Error(`${path} holds no "__toESM" as esbuild used to write it`);
  const spared = contents.replace(helper, `__toESM=($1,$2,$3)=>$1?.${STANDS_FOR_ITSELF}?$1:(`);
  writeFileSync(path, spared);
}

/** One character beyond Latin-1, of a regular expression say, and V8 holds and scans all of a program at two bytes each. */
function refuseWide(path) {
  const wide = /.{0,40}[^ -~\t\n\r]/.exec(readFileSync(path, 'utf8'));
  if (wide) throw new Error(`${path} holds what is not ASCII, near "${wide[0]}": write it as \\u escape in the source`);
}

/**
 * A part of Node is loaded when something of it is first used, not when a bundle is linked that mentions it; what is
 * `known` of it, not even then.
 */
const nodeOnDemand = (known = {}) => ({
  name: 'node-on-demand',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /./ }, ({ path, namespace }) => {
      if (namespace === 'node' || !isBuiltin(path)) return undefined;
      return { path: path.replace(/^(node:)?/, 'node:'), namespace: 'node', sideEffects: false };
    });
    onLoad({ filter: /./, namespace: 'node' }, ({ path }) => {
      const id = JSON.stringify(path);
      const part = process.getBuiltinModule(path);
      // sonic-boom's, for what never happens.
      if (path === 'node:assert')
        return { contents: `module.exports = (...args) => process.getBuiltinModule(${id})(...args)` };
      if (typeof part === 'function') return { contents: `module.exports = process.getBuiltinModule(${id})` };
      const getters = Object.keys(part).map(
        (name) =>
          `get ${JSON.stringify(name)}() { return ${known[`${path}.${name}`] ?? `load()[${JSON.stringify(name)}]`} }`,
      );
      return {
        contents: `let part; const load = () => part ??= process.getBuiltinModule(${id}); module.exports = { ${STANDS_FOR_ITSELF}: true, get default() { return load() }, ${getters} }`,
      };
    });
  },
});

const options = {
  outdir,
  bundle: true,
  platform: 'node',
  target: 'node26',
  // No splitting: finding, reading and linking many small files costs more than a part that is never evaluated.
  minifySyntax: true,
  // Less to read and to check before the first line runs; names stay, for whoever reads a stack.
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
  tsconfig: join(top, 'tsconfig.json'),
  // A native addon finds its files beside itself.
  external: ['koffi', '@koromix/*', ...NEVER_LOADED],
  plugins: [englishOnly, readApart, seldomUsed, shorterWithin, zodByName],
};

const define = {
  KEELSON_BUNDLED: 'true',
  KEELSON_REVISION: JSON.stringify(revision()),
  KEELSON_DEFAULT_TOML: JSON.stringify(readFileSync(join(top, 'config/default.toml'), 'utf8')),
};

const entries = Object.entries(entryPoints);
const [kept, others] = [true, false].map((wanted) =>
  Object.fromEntries(entries.filter(([name]) => isKeptCompiled(name) === wanted)),
);

rmSync(outdir, { recursive: true, force: true });
await build({
  ...options,
  plugins: [...options.plugins, nodeOnDemand()],
  entryPoints: others,
  format: 'esm',
  // CommonJS packages inside an ES module still call require for what Node brings along.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  define,
});
await build({
  ...options,
  // Each is a process: pino asks.
  plugins: [koffiInside, ...options.plugins, nodeOnDemand({ 'node:worker_threads.isMainThread': 'true' })],
  entryPoints: kept,
  format: 'cjs',
  outExtension: { '.js': '.bundle' },
  // The parameters of lib/code-cache.ts.
  // The same clock as `performance`, for which Node loads six parts of itself.
  banner: { js: '(function(exports,require,module,__url,__filename){const __now=()=>process.uptime()*1000;' },
  footer: { js: '})' },
  define: {
    ...define,
    'import.meta.url': '__url',
    'import.meta.filename': '__filename',
    'performance.now': '__now',
  },
});
await build({
  ...options,
  plugins: [nodeOnDemand()],
  entryPoints: { 'code-cache': join(top, 'lib/code-cache.ts') },
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
});
sparePartsTheirCopies(join(outdir, 'code-cache.cjs'));
for (const name of Object.keys(kept)) {
  const bundle = join(outdir, `${name}.bundle`);
  sparePartsTheirCopies(bundle);
  refuseWide(bundle);
  const digest = createHash('sha256').update(readFileSync(bundle)).digest('hex').slice(0, 16);
  const run = `require('./code-cache.cjs').runBundle(\`\${__dirname}/${name}.bundle\`, '${digest}')`;
  writeFileSync(join(outdir, `${name}.cjs`), `module.exports = ${run};\n`);
}

for (const name of readdirSync(outdir)) {
  const { size } = statSync(join(outdir, name));
  process.stdout.write(`dist/programs/${name} ${Math.ceil(size / 1024)} KiB\n`);
}
