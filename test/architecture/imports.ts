/**
 * The import rules of docs/architecture.md, as data and one pure function:
 * arrows point cli -> client -> api and plugins -> contracts, lib; the kernel
 * imports nothing of ours, and no plugin imports another.
 */
import { dirname, join, normalize } from 'node:path';

export interface SourceFile {
  /** Path from the top of the project, for example `plugins/content/store.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly from: string;
  readonly to: string;
  readonly rule: string;
}

interface Room {
  readonly name: string;
  readonly holds: (path: string) => boolean;
  /** Which paths a file of this room may import. */
  readonly mayImport: (target: string, from: string) => boolean;
  readonly rule: string;
}

const under =
  (...folders: string[]) =>
  (path: string): boolean =>
    folders.some((folder) => path.startsWith(`${folder}/`));

const isTest = (path: string): boolean =>
  /\.(test|spec-d)\.ts$/.test(path) || path.startsWith('test/') || path.startsWith('bench/');

const sameFolder = (depth: number, a: string, b: string): boolean =>
  a.split('/').slice(0, depth).join('/') === b.split('/').slice(0, depth).join('/');

const CONTRACT_BASE = ['kernel/token.ts', 'kernel/errors.ts'];
const PLUGIN_BASE = [...CONTRACT_BASE, 'kernel/plugin.ts'];

const ROOMS: readonly Room[] = [
  {
    name: 'contracts',
    holds: under('kernel/contracts'),
    mayImport: (target) =>
      under('kernel/contracts')(target) || CONTRACT_BASE.includes(target) || target === 'lib/rpc/definition.ts',
    rule: 'a contract imports only contracts, kernel/token.ts, kernel/errors.ts and lib/rpc/definition.ts',
  },
  {
    name: 'kernel',
    holds: under('kernel'),
    mayImport: (target) => under('kernel')(target) && !under('kernel/contracts')(target),
    rule: 'the kernel knows no domain: it imports nothing of ours but itself',
  },
  {
    name: 'lib',
    holds: under('lib'),
    mayImport: (target) => under('lib')(target) || target === 'kernel/errors.ts',
    rule: 'lib imports only lib and kernel/errors.ts',
  },
  {
    name: 'plugins',
    holds: under('plugins'),
    mayImport: (target, from) =>
      under('kernel/contracts', 'lib', 'api')(target) || PLUGIN_BASE.includes(target) || sameFolder(2, target, from),
    rule: 'a plugin imports contracts, lib, api and its own folder, never another plugin',
  },
  {
    name: 'api',
    holds: under('api'),
    mayImport: under('api'),
    rule: 'api imports nothing of ours but itself',
  },
  {
    name: 'client',
    holds: under('client'),
    mayImport: (target) => under('client', 'api', 'lib')(target) || target === 'kernel/errors.ts',
    rule: 'the client imports only api, lib and kernel/errors.ts',
  },
  {
    name: 'config',
    holds: under('config'),
    mayImport: (target, from) =>
      under('config', 'lib')(target) ||
      (under('kernel')(target) && !under('kernel/contracts')(target)) ||
      (from === 'config/builtins.ts' && /^plugins\/[^/]+\/(index|service)\.ts$/.test(target)),
    rule: 'config imports the kernel and lib; only its list of built-in plugins names plugins, by their definitions',
  },
  {
    name: 'cli',
    holds: under('cli'),
    mayImport: (target, from) =>
      under('cli', 'client', 'lib', 'config')(target) ||
      target === 'kernel/errors.ts' ||
      (under('cli/keelsond', 'cli/keelson')(from) && under('kernel')(target)) ||
      (from === 'cli/keelson/conformance-command.ts' && target === 'test/conformance/command.ts'),
    rule: 'command lines import the client only; keelsond and keelson may also import the kernel, and one command the kits',
  },
];

/** Relative module specifiers of a source text, type imports included. */
function relativeImports(text: string): string[] {
  const pattern = /(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

const toSource = (path: string): string => path.replace(/\.js$/, '.ts');

/** Every import that breaks a rule. Tests and benchmarks may import anything. */
export function violations(files: readonly SourceFile[]): Violation[] {
  return files.flatMap(({ path, text }) => {
    if (isTest(path)) return [];
    const room = ROOMS.find(({ holds }) => holds(path));
    if (!room) return [];
    return relativeImports(text)
      .map((specifier) => toSource(normalize(join(dirname(path), specifier))))
      .filter((target) => !room.mayImport(target, path))
      .map((to) => ({ from: path, to, rule: room.rule }));
  });
}
