/** Which version of a plugin is configured: that of the package which holds it. */
import { readFileSync, statSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import type { PluginEntry } from '../kernel/index.js';
import { VERSION } from '../lib/version.js';

const Manifest = z.object({ version: z.string() });

const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** The manifest that holds for what the entry names. */
function manifestOf({ package: name, path }: PluginEntry, packagesFrom: readonly string[]): string | undefined {
  if (path !== undefined)
    return findPackageJSON('.', pathToFileURL(isDirectory(path) ? join(path, 'package.json') : path));
  if (name === undefined) return undefined;
  const bases = [...packagesFrom.map((directory) => join(directory, 'package.json')), import.meta.filename];
  return bases.map((base) => within(() => findPackageJSON(name, base))).find((manifest) => manifest !== undefined);
}

/** Undefined instead of an error: that a package is not there is told by whoever loads it. */
function within<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** Plugins of the tree have its version; empty where no package says any. */
export function pluginVersion(entry: PluginEntry, packagesFrom: readonly string[]): string {
  if (entry.package === undefined && entry.path === undefined) return VERSION;
  const found = within(() => {
    const manifest = manifestOf(entry, packagesFrom);
    return manifest === undefined ? undefined : Manifest.parse(JSON.parse(readFileSync(manifest, 'utf8'))).version;
  });
  return found ?? '';
}
