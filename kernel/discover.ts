/** From configuration entries to plugin values. Nothing is searched for: what is not listed is not loaded. */
import { readFileSync, statSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { didYouMean, isRecord, millis, type PluginEntry } from './config.js';
import { messageOf, type Problem, problem, type Situation } from './errors.js';
import type { Plugin } from './plugin.js';

/** Plugins of the tree: configuration key -> lazy import of the module that exports `plugin`. */
export type Manifest = Readonly<Record<string, () => Promise<unknown>>>;

export interface Definition {
  readonly id: string;
  readonly plugin: Plugin;
  /** `built-in`, `package NAME` or `path PATH`. */
  readonly source: string;
}

export interface Sources {
  /** Plugins that the configuration may name without a package or path. */
  readonly builtins: Manifest;
  /** Directories from which packages are resolved, before the kernel's own place. */
  readonly packagesFrom: readonly string[];
}

export type Discovered = { readonly definition: Definition } | { readonly failure: Problem };

const API = 1;

export const sourceOf = (entry: PluginEntry): string =>
  entry.package ? `package ${entry.package}` : entry.path ? `path ${entry.path}` : 'built-in';

/** Entry file of a package, by `exports` (string or conditions of ".") or `main` (https://nodejs.org/api/packages.html). */
function entryFile(manifest: string): string {
  const content: unknown = JSON.parse(readFileSync(manifest, 'utf8'));
  const pick = (target: unknown): string | undefined => {
    if (typeof target === 'string') return target;
    if (!isRecord(target)) return undefined;
    const key = Object.keys(target).find((name) => ['.', 'node', 'import', 'module-sync', 'default'].includes(name));
    return key === undefined ? undefined : pick(target[key]);
  };
  const target = isRecord(content) ? (pick(content.exports) ?? pick(content.main)) : undefined;
  return join(dirname(manifest), target ?? 'index.js');
}

function packageFile(name: string, from: readonly string[]): string {
  for (const base of from)
    try {
      const manifest = findPackageJSON(name, base);
      if (manifest !== undefined) return entryFile(manifest);
    } catch (error) {
      if (!isRecord(error) || error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    }
  throw new Error(`package "${name}" is not installed where ${from.map((base) => `"${base}"`).join(' or ')} finds it`);
}

const pathFile = (path: string): string =>
  statSync(path).isDirectory() ? entryFile(join(path, 'package.json')) : path;

/** Resolves to true when the work settles in time, to false when not; never cuts it short. */
export async function settlesWithin(work: Promise<unknown>, millis: number): Promise<boolean> {
  const { promise: settled, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, millis, false);
  const inTime = (): void => resolve(true);
  work.then(inTime, inTime);
  return settled.finally(() => clearTimeout(timer));
}

async function within<T>(work: Promise<T>, deadline: number): Promise<T> {
  if (await settlesWithin(work, deadline)) return work;
  throw new Error(`it is still not evaluated after ${deadline / 1000} s; look for an await at its top level`);
}

/** The module behind an entry; rejects when it cannot be found or evaluated. */
export async function load(id: string, entry: PluginEntry, { builtins, packagesFrom }: Sources): Promise<unknown> {
  const deadline = millis(entry.start_deadline);
  if (entry.path !== undefined) return within(import(pathToFileURL(pathFile(entry.path)).href), deadline);
  if (entry.package === undefined) return builtins[id]?.();
  const from = [...packagesFrom.map((directory) => join(directory, 'package.json')), import.meta.filename];
  return within(import(pathToFileURL(packageFile(entry.package, from)).href), deadline);
}

const isToken = (value: unknown): boolean =>
  isRecord(value) &&
  typeof value.id === 'string' &&
  typeof value.key === 'symbol' &&
  (value.arity === 'one' || value.arity === 'many');

const isTokens = (value: unknown): boolean => isRecord(value) && Object.values(value).every(isToken);

/** Both parts become one directory name. */
const isWireName = (value: unknown): boolean =>
  isRecord(value) &&
  [value.type, value.id].every((part) => typeof part === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(part));

const isSchema = (value: unknown): boolean =>
  isRecord(value) && isRecord(value['~standard']) && typeof value['~standard'].validate === 'function';

const SHAPE: Readonly<Record<keyof Plugin, readonly [(value: unknown) => boolean, string]>> = {
  id: [(value) => typeof value === 'string', 'a string'],
  api: [(value) => value === API, `the number ${API}`],
  wire: [isWireName, '{ type, id } of letters, digits, ".", "_" and "-"'],
  config: [isSchema, 'a Standard Schema'],
  requires: [isTokens, 'a table of tokens'],
  provides: [isTokens, 'a table of tokens'],
  start: [(value) => typeof value === 'function', 'a function'],
};

const misshapen = (value: Readonly<Record<PropertyKey, unknown>>): string[] =>
  Object.entries(SHAPE)
    .filter(([key, [holds]]) => !holds(value[key]))
    .map(([key, [, expected]]) => `"${key}" must be ${expected}`);

const isPlugin = (
  value: Readonly<Record<PropertyKey, unknown>>,
): value is Readonly<Record<PropertyKey, unknown>> & Plugin => misshapen(value).length === 0;

function checked(id: string, entry: PluginEntry, module: unknown): Discovered {
  const source = sourceOf(entry);
  const fail = (situation: Situation, message: string): Discovered => ({
    failure: problem(situation, `plugin "${id}" (${source}) ${message}`),
  });
  const value = isRecord(module) ? module.plugin : undefined;
  if (!isRecord(value))
    return fail('KEELSON_NOT_A_PLUGIN', 'exports no "plugin"; export a definePlugin(...) by that name');
  if (typeof value.api === 'number' && value.api !== API)
    return fail(
      'KEELSON_API_VERSION',
      `was written for plugin API ${value.api}; this kernel speaks ${API}: use another version of it`,
    );
  if (!isPlugin(value))
    return fail('KEELSON_NOT_A_PLUGIN', `exports a "plugin" of the wrong shape: ${misshapen(value).join(', ')}`);
  if (value.id !== id)
    return fail('KEELSON_WRONG_ID', `calls itself "${value.id}"; configure it as [plugins.${value.id}]`);
  return { definition: { id, plugin: value, source } };
}

/** Whether the entry can mean anything; a problem names the nearest plugin of the tree. */
export function unknownPlugin(id: string, entry: PluginEntry, builtins: Manifest): string | undefined {
  if (entry.package !== undefined || entry.path !== undefined || Object.hasOwn(builtins, id)) return undefined;
  const hint = didYouMean(id, Object.keys(builtins));
  return `found "${id}", expected a plugin of the tree, or a "package" or "path" that holds it${hint}`;
}

/** Imports one plugin and checks what it exports. Never throws: a bad plugin is a failure with its reason. */
export async function discover(id: string, entry: PluginEntry, sources: Sources): Promise<Discovered> {
  try {
    return checked(id, entry, await load(id, entry, sources));
  } catch (error) {
    const message = `plugin "${id}" (${sourceOf(entry)}) cannot be imported: ${messageOf(error)}`;
    return { failure: problem('KEELSON_IMPORT', message, error) };
  }
}
