/** The few facts of a bundle's config.json (OCI runtime-spec, config-linux.md) that the supervisor acts on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalidArgument } from '../../../kernel/errors.js';

export interface SpecFacts {
  /** Its processes die with its init process, since they share a process namespace of their own. */
  readonly ownPidNamespace: boolean;
  /** Empty: the runtime's default. */
  readonly cgroupsPath: string;
  /** Starting it takes more than letting its init process go: hooks to be run. */
  readonly startsByRuntime: boolean;
  /** Ending it takes more than removing what the OCI runtime made: hooks to be run, a resource group to be removed. */
  readonly endsByRuntime: boolean;
}

const field = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;

function parse(path: string): unknown {
  const text = readFileSync(path, 'utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidArgument(`the runtime spec "${path}" is no JSON`, { cause });
  }
}

/** INVALID_ARGUMENT when the bundle's spec is no JSON. */
export function readSpec(bundle: string): SpecFacts {
  const spec = parse(join(bundle, 'config.json'));
  const linux = field(spec, 'linux');
  const hooks = field(spec, 'hooks');
  const namespaces = field(linux, 'namespaces');
  const cgroupsPath = field(linux, 'cgroupsPath');
  const own = (namespace: unknown): boolean => field(namespace, 'type') === 'pid' && !field(namespace, 'path');
  return {
    ownPidNamespace: Array.isArray(namespaces) && namespaces.some(own),
    cgroupsPath: typeof cgroupsPath === 'string' ? cgroupsPath : '',
    startsByRuntime: field(hooks, 'poststart') !== undefined,
    endsByRuntime: field(hooks, 'poststop') !== undefined || field(linux, 'intelRdt') !== undefined,
  };
}
