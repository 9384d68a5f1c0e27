/**
 * Bundles (OCI runtime-spec, bundle.md) as runtimes keep them: a directory per
 * task, below that of its namespace, with the spec in `config.json` and the
 * root filesystem mounted on `rootfs`.
 */
import { chmodSync, chownSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alreadyExists, failedPrecondition, invalidArgument } from '../../kernel/errors.js';
import { fileError, isErrno } from '../errno.js';
import { mountsWithin, unmountAll } from '../linux/mount.js';

/** Directories of the state directory that begin so are not namespaces; no identifier does. */
const HIDDEN = '.';

const ROOTFS = 'rootfs';
const CONFIG = 'config.json';

const field = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;

export interface SpecView {
  readonly annotations: ReadonlyMap<string, string>;
  /** Host id that root of the container's user namespace has as a group; 0 without a user namespace. */
  readonly rootGid: number;
}

/** INVALID_ARGUMENT when the bytes are no JSON object. */
export function viewSpec(id: string, bytes: Uint8Array): SpecView {
  let spec: unknown;
  try {
    spec = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalidArgument(`the runtime spec of container "${id}" is no JSON`, { cause });
  }
  if (typeof spec !== 'object' || spec === null) throw invalidArgument(`the runtime spec of "${id}" is no JSON object`);
  const annotations = field(spec, 'annotations');
  const pairs = typeof annotations === 'object' && annotations !== null ? Object.entries(annotations) : [];
  const mappings = field(field(spec, 'linux'), 'gidMappings');
  const mapping: unknown = Array.isArray(mappings)
    ? mappings.find((entry) => field(entry, 'containerID') === 0)
    : undefined;
  const rootGid = field(mapping, 'hostID');
  return {
    annotations: new Map(pairs.filter((pair): pair is [string, string] => typeof pair[1] === 'string')),
    rootGid: typeof rootGid === 'number' ? rootGid : 0,
  };
}

export interface NewBundle {
  /** The container's id. */
  readonly id: string;
  /** The runtime spec, JSON. */
  readonly spec: Uint8Array;
  readonly rootGid: number;
  /** Further files, by name. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Makes the bundle of a task. ALREADY_EXISTS when there is one. Nothing is left
 * after a failure. Synchronous, as is removal: the state directory is in memory,
 * and a few calls of some microseconds each would wait for a thread each otherwise.
 */
export function makeBundle(path: string, bundle: NewBundle): void {
  try {
    make(path, bundle);
  } catch (error) {
    throw fileError(error, `making the bundle of task "${bundle.id}"`);
  }
}

function make(path: string, { id, spec, rootGid, files }: NewBundle): void {
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o711 });
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw alreadyExists(`task "${id}" exists`);
    throw error;
  }
  try {
    // Root of a user namespace must get through to its root filesystem.
    if (rootGid !== 0) chownSync(path, 0, rootGid);
    if (rootGid !== 0) chmodSync(path, 0o710);
    mkdirSync(join(path, ROOTFS), { mode: 0o711 });
    writeFileSync(join(path, CONFIG), spec, { mode: 0o600 });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text, { mode: 0o600 });
  } catch (error) {
    unmake(path, [CONFIG, ...Object.keys(files)]);
    throw error;
  }
}

/** By name: to list a directory takes a descriptor, and that there are none left may be why it was not made. */
function unmake(path: string, files: readonly string[]): void {
  for (const file of files) rmSync(join(path, file), { force: true });
  try {
    rmdirSync(join(path, ROOTFS));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  rmdirSync(path);
}

/**
 * Unmounts and removes a bundle. FAILED_PRECONDITION, nothing removed, when
 * something stays mounted: removal never reaches into a mount.
 */
export async function removeBundle(bundle: string): Promise<void> {
  const left = (await unmountAll(bundle)) ? mountsWithin(bundle) : [];
  if (left.length > 0) throw failedPrecondition(`"${left[0]?.target}" of bundle "${bundle}" is still mounted`);
  rmSync(bundle, { recursive: true, force: true });
}

export interface FoundBundle {
  readonly namespace: string;
  readonly id: string;
  readonly path: string;
}

/** All bundles there are. */
export function findBundles(state: string): FoundBundle[] {
  const directories = (path: string): string[] =>
    readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith(HIDDEN))
      .map(({ name }) => name);
  return directories(state).flatMap((namespace) =>
    directories(join(state, namespace)).map((id) => ({ namespace, id, path: join(state, namespace, id) })),
  );
}
