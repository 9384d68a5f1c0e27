/** From files to settings: found, parsed, imported, merged and checked; nothing outside data is trusted before. */
import { globSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { ExplorerSync } from 'cosmiconfig/dist/ExplorerSync.js';
import { describe, type KernelConfig, type KeyPath, type Locate, validate } from '../kernel/config.js';
import type { Manifest } from '../kernel/discover.js';
import { invalidArgument, notFound, type Problem } from '../kernel/errors.js';
import { withAddresses } from './addresses.js';
import { builtins } from './builtins.js';
import { containerdVersion, fromContainerd } from './containerd.js';
import { defaultToml } from './defaults.js';
import { Document, FORMATS } from './document.js';
import { proxiesOf } from './proxies.js';
import { Settings } from './schema.js';
import {
  childAt,
  growTree,
  locateIn,
  mergeTables,
  type Positioned,
  type Table,
  toValue,
  withChild,
  withoutChild,
} from './tree.js';

/** Searched in this order, and nowhere else: never the working directory. */
export const SEARCH_PLACES: readonly string[] = FORMATS.map((format) => `/etc/keelson/config.${format}`);

/** A setting from the command line, which wins over every file. */
export interface Override {
  /** As typed, for messages: `--root`. */
  readonly flag: string;
  readonly path: KeyPath;
  readonly value: unknown;
}

export interface LoadOptions {
  /** The file to read in place of the search. NOT_FOUND when it is not there. */
  readonly file?: string;
  readonly overrides?: readonly Override[];
}

export interface LoadedConfig {
  /** With whatever was wrong left out, so that the rest can be checked too. */
  readonly settings: Settings;
  /** The settings as the kernel takes them: with a plugin for each of `[proxy_plugins]`. */
  readonly kernel: KernelConfig;
  /** The plugins of the tree, and those proxies. */
  readonly builtins: Manifest;
  /** What is wrong outside the plugins' own sections; a daemon must not start with any. */
  readonly problems: readonly Problem[];
  /** What containerd's files ask for that is not done, each with its place. */
  readonly warnings: readonly string[];
  readonly locate: Locate;
  /** Files read, in order; later ones override. */
  readonly files: readonly string[];
  /** Where plugin packages are looked for: the directory of the first file. */
  readonly packagesFrom: readonly string[];
}

interface Source {
  readonly file: string;
  readonly document: Document;
  readonly table: Table;
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');

const parse = (file: string, text: string): ReturnType<typeof Document.parse> => Document.parse(file, text);

/** Nobody is served yet: waiting for a thread to read would only take longer. */
const explorer = new ExplorerSync({
  moduleName: 'keelson',
  searchPlaces: SEARCH_PLACES,
  searchStrategy: 'none',
  ignoreEmptySearchPlaces: false,
  cache: false,
  // The only loaders there are: no file is ever executed.
  loaders: { ...Object.fromEntries(FORMATS.map((format) => [`.${format}`, parse])), default: parse, noExt: parse },
  transform: (result) => result,
  metaConfigFilePath: null,
  mergeImportArrays: false,
  mergeSearchPlaces: false,
  applyPackagePropertyPathToConfiguration: false,
  packageProp: [],
});

async function read(file: string): Promise<{ readonly document: Document; readonly value: unknown }> {
  return (await explorer.load(file)?.config) ?? Document.parse(file, '');
}

/** The file to begin with; undefined when none was named and none is there. */
async function firstFile(
  named: string | undefined,
): Promise<{ file: string; content: Awaited<ReturnType<typeof read>> } | undefined> {
  for (const file of named === undefined ? SEARCH_PLACES : [resolve(named)])
    try {
      return { file, content: await read(file) };
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  if (named === undefined) return undefined;
  throw notFound(`configuration file "${named}" does not exist`);
}

async function asTable({ document, value }: Awaited<ReturnType<typeof read>>): Promise<Table> {
  const tree = growTree(value, document);
  if (tree.kind === 'table') return tree;
  throw invalidArgument(
    `${await document.position([], 'value')}: found ${describe(value)}, expected a table of settings`,
  );
}

/** `path` of a plugin is relative to the file that names it. */
function withAbsolutePaths(table: Table, file: string): Table {
  const plugins = table.entries.get('plugins');
  if (plugins?.kind !== 'table') return table;
  return [...plugins.entries.keys()].reduce((changed, id) => {
    const path = childAt(plugins, [id, 'path']);
    if (path?.kind !== 'leaf' || typeof path.value !== 'string' || isAbsolute(path.value)) return changed;
    const value = resolve(dirname(file), path.value);
    return withChild(changed, ['plugins', id, 'path'], { ...path, value });
  }, table);
}

/** The files that a file imports, in order; a glob may match none, a plain name must be there. */
async function importsOf({ file, table }: Source): Promise<string[]> {
  const imports = table.entries.get('imports');
  if (imports?.kind !== 'list') return [];
  const found: string[] = [];
  for (const item of imports.items) {
    // Anything but a string is told when the settings are checked.
    if (item.kind !== 'leaf' || typeof item.value !== 'string') continue;
    const pattern = resolve(dirname(file), item.value);
    const matches = /[*?[{]/.test(item.value) ? globSync(pattern) : [pattern];
    found.push(...matches.sort());
  }
  return found;
}

/** The first file and everything it imports, each once, those imported after those that import them. */
async function readAll(named: string | undefined): Promise<Source[]> {
  const first = await firstFile(named);
  if (first === undefined) return [];
  const sources: Source[] = [
    { file: first.file, document: first.content.document, table: await asTable(first.content) },
  ];
  const known = new Set([first.file]);
  // Grows while it is walked: what an imported file imports comes after it.
  for (const source of sources)
    for (const file of await importsOf(source)) {
      if (known.has(file)) continue;
      known.add(file);
      const content = await readImported(file, source);
      sources.push({ file, document: content.document, table: await asTable(content) });
    }
  return sources;
}

async function readImported(file: string, by: Source): ReturnType<typeof read> {
  try {
    return await read(file);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw notFound(`${await by.document.position(['imports'], 'value')}: imports: "${file}" does not exist`, {
      cause: error,
    });
  }
}

const commandLine = (flag: string): Positioned => ({ name: flag, position: async () => `flag ${flag}` });

const withOverride = (table: Table, { flag, path, value }: Override): Table =>
  withChild(table, path, { kind: 'leaf', origin: { document: commandLine(flag), path }, value });

/** Checks the settings that are not a plugin's own; what is wrong is told and taken out. */
async function settle(table: Table): Promise<{ settings: Settings; problems: readonly Problem[] }> {
  const value = toValue(table);
  const parsed = Settings.safeParse(value);
  if (parsed.success) return { settings: parsed.data, problems: [] };
  const { problems } = await validate({ schema: Settings, value, path: [] }, (path, at) => locateIn(table, path, at));
  const wrong = parsed.error.issues.flatMap(({ path, ...issue }) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...path, key]) : [path],
  );
  const rest = Settings.safeParse(toValue(wrong.reduce(withoutChild, table)));
  return { settings: rest.data ?? Settings.parse({}), problems };
}

/** Reads the configuration. Throws when a file is missing or cannot be parsed; everything else is in `problems`. */
export async function loadConfig({ file, overrides = [] }: LoadOptions = {}): Promise<LoadedConfig> {
  const builtIn = await Document.parse('built-in default.toml', defaultToml());
  const sources = await readAll(file);
  const warnings: string[] = [];
  const version = containerdVersion(sources[0]?.table);
  let table = await asTable(builtIn);
  for (const source of sources) {
    const ours =
      (containerdVersion(source.table) ?? version) === undefined
        ? withAbsolutePaths(source.table, source.file)
        : await fromContainerd(source.table, warnings);
    table = mergeTables(table, ours);
  }
  const whole = withAddresses(overrides.reduce(withOverride, table));
  const locate: Locate = (path, at) => locateIn(whole, path, at);
  const { settings, problems } = await settle(whole);
  const proxies = await proxiesOf(settings, locate);
  return {
    settings,
    problems: [...problems, ...proxies.problems],
    kernel: { ...settings, plugins: { ...settings.plugins, ...proxies.plugins } },
    builtins: { ...builtins, ...proxies.manifest },
    warnings,
    locate,
    files: sources.map((source) => source.file),
    packagesFrom: sources.slice(0, 1).map((source) => dirname(source.file)),
  };
}
