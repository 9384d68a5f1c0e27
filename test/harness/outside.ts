/**
 * A directory outside the tree in which the packed tarball is installed: where
 * the packages of plugin authors stand. What is in it comes from the tarball
 * and from npm's cache or registry, never from the sources.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { succeed } from './command.js';

/** Top of the project. */
export const TOP = fileURLToPath(new URL('../../..', import.meta.url));

const builder = fileURLToPath(new URL('./build-outside.js', import.meta.url));

export interface Outside {
  readonly directory: string;
  /** The tarball that `npm pack` made. */
  readonly tarball: string;
  /** A new directory in it, in which `keelson` and the compiler are found. */
  package(name: string): Promise<string>;
}

/** Runs npm there. What its cache holds (`npm ci` fills it) is not asked of the registry. No package's scripts run. */
export function npm(directory: string, ...args: readonly string[]): Promise<string> {
  const quiet = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  // the test command runs with the system's Node, and so does its npm
  const env = { npm_config_update_notifier: 'false' };
  return succeed('npm', [...args, ...quiet], { cwd: directory, env, timeout: 170_000 });
}

/** The project's compiled programs, by the names npm gives them. */
export const programIn = (directory: string, name: string): string => join(directory, 'node_modules/.bin', name);

/** Installed once by whoever comes first, waited for by others. */
export async function outside(): Promise<Outside> {
  const place = process.env.KEELSON_TEST_DIR ?? tmpdir();
  const directory = join(place, 'keelson-outside');
  await mkdir(place, { recursive: true });
  await succeed('flock', [`${directory}.lock`, process.execPath, builder, directory], { timeout: 175_000 });
  const [tarball = ''] = await readdir(join(directory, 'packed'));
  return {
    directory,
    tarball: join(directory, 'packed', tarball),
    async package(name) {
      const path = join(directory, 'packages', `${name}-${process.pid}`);
      await mkdir(path, { recursive: true });
      return path;
    },
  };
}
