/** Where the programs stand that a program starts beside itself: worker threads and supervisors. */
import { fileURLToPath } from 'node:url';

/** Source of each, from the top of the project. The build makes one file of each. */
export const PROGRAMS = {
  'diff-worker': 'plugins/diff/worker',
  'tree-worker': 'lib/tree/worker',
  'runtime-runc-supervisor': 'plugins/runtime-runc/supervisor/main',
  'containerd-shim-keelson-v1': 'plugins/runtime-runc/shim/main',
} as const;

export type ProgramName = keyof typeof PROGRAMS;

/** True in a bundle: put in place by build.mjs, which lays all programs into one directory. */
declare const KEELSON_BUNDLED: boolean | undefined;

const isBundled = typeof KEELSON_BUNDLED === 'boolean' && KEELSON_BUNDLED;

/** Absolute path of the launcher of a command line, for programs that are told to run it. */
export const launcherPath = (name: string): string => fileURLToPath(new URL(`../../bin/${name}`, import.meta.url));

/** Absolute path of the JavaScript file to run, for the bundled programs and for the merely compiled ones. */
export const programPath = (name: ProgramName): string =>
  fileURLToPath(new URL(isBundled ? `./${name}.js` : `../${PROGRAMS[name]}.js`, import.meta.url));
