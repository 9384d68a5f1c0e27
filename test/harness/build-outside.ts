/** Program behind `outside`: build-outside.js DIRECTORY. Does nothing when what is there is newer than the build. */
import { existsSync, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { npm, TOP } from './outside.js';

const Manifest = z.object({ devDependencies: z.record(z.string(), z.string()) });

/** What an author's package compiles with: the versions this project is built with. */
async function compilers(): Promise<string[]> {
  const { devDependencies } = Manifest.parse(JSON.parse(await readFile(join(TOP, 'package.json'), 'utf8')));
  return ['typescript', '@types/node'].map((name) => `${name}@${devDependencies[name]}`);
}

async function build(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  const packed = join(directory, 'packed');
  await mkdir(packed, { recursive: true });
  await npm(TOP, 'pack', '--ignore-scripts', '--pack-destination', packed);
  const [tarball = ''] = await readdir(packed);
  await writeFile(join(directory, 'package.json'), JSON.stringify({ name: 'outside', private: true, type: 'module' }));
  await npm(directory, 'install', '--save-exact', join(packed, tarball), ...(await compilers()));
}

const [directory = ''] = process.argv.slice(2);
const mark = join(directory, 'complete');
const built = statSync(join(TOP, 'dist/programs/keelsond.cjs'), { throwIfNoEntry: false });
if (!built) throw new Error('the programs are not built: run npm run build');
if (!existsSync(mark) || statSync(mark).mtimeMs < built.mtimeMs) {
  await build(directory);
  await writeFile(mark, '');
}
