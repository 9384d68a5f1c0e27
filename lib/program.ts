/** Where the programs stand that a program starts beside itself: worker threads and supervisors. */
import { fileURLToPath } from 'node:url';

/** Source of each, from the top of the project. The build makes one file of each: of threads a module, of processes a script. */
export const THREADS = {
  'diff-worker': 'plugins/diff/worker',
  'tree-worker': 'lib/tree/worker',
} as const;

export const PROCESSES = {
  'runtime-runc-supervisor': 'plugins/runtime-runc/supervisor/main',
  'containerd-shim-keelson-v1': 'plugins/runtime-runc/shim/main',
} as const;

/** True in a bundle: put in place by build.mjs, which lays all programs into one directory. */
declare const KEELSON_BUNDLED: boolean | undefined;

const isBundled = typeof KEELSON_BUNDLED === 'boolean' && KEELSON_BUNDLED;

/** Absolute path of the launcher of a command line, for programs that are told to run it. */
export const launcherPath = (name: string): string => fileURLToPath(new URL(`../../bin/${name}`, import.meta.url));

const pathOf = (bundled: string, compiled: string): string =>
  fileURLToPath(new URL(isBundled ? bundled : compiled, import.meta.url));

/** Absolute path of what a worker thread runs, for the bundled programs and for the merely compiled ones. */
export const threadPath = (name: keyof typeof THREADS): string => pathOf(`./${name}.js`, `../${THREADS[name]}.js`);

/** Absolute path of what a process of its own runs, likewise. */
export const processPath = (name: keyof typeof PROCESSES): string =>
  pathOf(`./${name}.cjs`, `../${PROCESSES[name]}.js`);
