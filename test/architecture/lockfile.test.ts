import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';

const names = z.record(z.string(), z.string()).default({});
const lockfile = z
  .object({
    packages: z.record(
      z.string(),
      z.looseObject({ dependencies: names, optionalDependencies: names, resolved: z.string().optional() }),
    ),
  })
  .parse(JSON.parse(readFileSync(join(import.meta.dirname, '../../../package-lock.json'), 'utf8')));

/** Where Node would look for a dependency of the package at `place`: inside it, then further and further out. */
function places(place: string, name: string): string[] {
  const here = `${place === '' ? '' : `${place}/`}node_modules/${name}`;
  const parent = place.lastIndexOf('/node_modules/');
  if (place === '') return [here];
  return [here, ...places(parent < 0 ? '' : place.slice(0, parent), name)];
}

describe('package-lock.json', () => {
  it('is one that npm ci accepts: it has the packages of every platform', () => {
    const missing = Object.entries(lockfile.packages).flatMap(([place, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !places(place, name).some((candidate) => Object.hasOwn(lockfile.packages, candidate)))
        .map((name) => `${name} of ${place}`),
    );
    assert.deepEqual(missing, [], 'make it anew where there is no node_modules: npm install --package-lock-only');
  });

  it('names no registry', () => {
    const resolved = Object.entries(lockfile.packages).filter(([, { resolved }]) => resolved !== undefined);
    assert.deepEqual(resolved, []);
  });
});
