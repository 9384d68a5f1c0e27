/**
 * Runs a bundle with the code that V8 made of it in an earlier run. Node's own compile cache holds only what is
 * compiled before the first line runs, not the functions that a start then calls, one by one: a quarter of its time.
 */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script, constants as vm } from 'node:vm';
import { isErrno } from './errno.js';

/** Milliseconds after which what a program does as it starts is done and compiled. */
const SETTLED = 5000;

/** What the build makes of a bundle: one expression, a function of what CommonJS modules find around them, and the module's URL. */
type Bundle = (
  exports: object,
  require: NodeJS.Require,
  module: { readonly exports: object },
  url: string,
  filename: string,
) => void;

const isBundle = (value: unknown): value is Bundle => typeof value === 'function';

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    // There is none yet, or it is another user's.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined;
    throw error;
  }
}

/** What the file holds, in that room if it is large enough. Half of it, should that ever be read, V8 refuses by its length. */
function keptCode(path: string, room: Buffer): Buffer | undefined {
  const file = openIfThere(path);
  if (file === undefined) return undefined;
  try {
    const { size } = fstatSync(file);
    const into = size <= room.length ? room : Buffer.allocUnsafeSlow(size);
    return into.subarray(0, readSync(file, into, 0, size, 0));
  } finally {
    closeSync(file);
  }
}

/** In one piece or not at all, also when power fails: V8 does not look at all of it. */
function write(path: string, code: Buffer): void {
  const unfinished = `${path}.${process.pid}`;
  // Also over what a killed process of this number left.
  const file = openSync(unfinished, 'w', 0o600);
  try {
    writeFileSync(file, code);
    fsyncSync(file);
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Serializes the code only where it can be kept: an installation may be read-only, or another user's. */
function keep(path: string, script: Script): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    accessSync(dirname(path), constants.W_OK);
    write(path, script.createCachedData());
  } catch (error) {
    // Nor on a full disk: the next start is as slow as this one.
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}

/** Calls it once the program has settled, or when it ends before. */
function onceSettled(work: () => void): void {
  const run = (): void => {
    clearTimeout(timer);
    process.off('exit', run);
    work();
  };
  const timer = setTimeout(run, SETTLED).unref();
  process.once('exit', run);
}

/**
 * Evaluates the bundle at that absolute path and returns what it exports. `digest` tells one build of it from another: V8
 * itself compares only the lengths of sources. Code for the next run is kept below `.cache` beside the bundle.
 */
export function runBundle(filename: string, digest: string): object {
  const cache = join(dirname(filename), '.cache', `${basename(filename)}-${digest}-${process.version}`);
  const room = readFileSync(filename);
  const source = room.toString('latin1');
  // In the same memory: for pages that it has not touched before, a process waits for the kernel, hundreds of times here.
  const cachedData = keptCode(cache, room);
  const script = new Script(source, {
    filename,
    ...(cachedData && { cachedData }),
    importModuleDynamically: vm.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  // Before it runs: it may end as it does.
  if (cachedData === undefined || script.cachedDataRejected) onceSettled(() => keep(cache, script));
  const bundle: unknown = script.runInThisContext();
  if (!isBundle(bundle)) throw new Error(`"${filename}" is no bundle: build it again`);
  const module = { exports: {} };
  bundle(module.exports, createRequire(filename), module, pathToFileURL(filename).href, filename);
  return module.exports;
}
