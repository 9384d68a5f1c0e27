/** Files of Debian packages installed on this system, as material for images. */
import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { succeed } from './command.js';

interface Package {
  readonly name: string;
  /** Alternatives of each dependency, in order. */
  readonly depends: readonly (readonly string[])[];
}

const nameOf = (relation: string): string => relation.trim().replace(/[\s:(].*$/, '');

/** Every installed package by its name and by what it provides. */
async function installedPackages(): Promise<Map<string, Package>> {
  const format = `\${Package}\\t\${db:Status-Status}\\t\${Pre-Depends}, \${Depends}\\t\${Provides}\\n`;
  const table = new Map<string, Package>();
  for (const line of (await succeed('dpkg-query', ['--show', `--showformat=${format}`])).split('\n')) {
    const [name = '', status, depends = '', provides = ''] = line.split('\t');
    if (status !== 'installed') continue;
    const relations = depends.split(',').map((alternatives) => alternatives.split('|').map(nameOf).filter(Boolean));
    const entry = { name, depends: relations };
    table.set(name, entry);
    for (const provided of provides.split(',').map(nameOf)) if (!table.has(provided)) table.set(provided, entry);
  }
  return table;
}

/** The named packages with everything they depend on. An unknown name is an error. */
export async function withDependencies(names: readonly string[]): Promise<Set<string>> {
  const table = await installedPackages();
  const closure = new Set<string>();
  const add = (name: string): void => {
    const found = table.get(name);
    if (!found) throw new Error(`Debian package "${name}" is not installed`);
    if (closure.has(found.name)) return;
    closure.add(found.name);
    for (const alternatives of found.depends) {
      const chosen = alternatives.find((alternative) => table.has(alternative));
      if (chosen !== undefined) add(chosen);
    }
  };
  names.forEach(add);
  return closure;
}

/** Where a listed path really lies: packages still list `/bin/sh` on systems where `/bin` is a link to `/usr/bin`. */
async function realParent(path: string): Promise<string> {
  return join(await realpath(dirname(path)), basename(path));
}

const exists = async (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );

/** Directories whose content is the running system's, not the packages'. */
const ALIVE = /^\/(dev|proc|run|sys|tmp)(\/|$)/;

/** Paths relative to `/` of the packages' files and directories that are there, sorted, directories before what they hold. */
export async function packageFiles(packages: Iterable<string>): Promise<string[]> {
  const listing = await succeed('dpkg-query', ['--listfiles', ...packages]);
  const found = new Set<string>();
  for (const path of new Set(
    listing.split('\n').filter((line) => line.startsWith('/') && line !== '/.' && !ALIVE.test(line)),
  )) {
    if (await exists(path)) found.add((await realParent(path)).slice(1));
  }
  return [...found].sort();
}

/** The links that merge `/bin`, `/lib`, ... into `/usr`, where this system has them. */
export async function mergedDirectories(): Promise<string[]> {
  const names = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];
  const links = await Promise.all(
    names.map(async (name) => ((await exists(`/${name}`)) && (await lstat(`/${name}`)).isSymbolicLink() ? [name] : [])),
  );
  return links.flat();
}
