/** Names from archives: byte strings (one character per byte), cleaned, and made into C strings for system calls. */
import { invalidArgument } from '../../../kernel/errors.js';

/** Longest path that the kernel takes, without the NUL that ends it (PATH_MAX). */
const PATH_LIMIT = 4095;

/** A name as people should see it in a message. */
export function show(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8');
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}

/**
 * The path relative to the root of the tree, without `.`, `..` and needless
 * slashes; empty for the root. `..` at the root stays there, as containerd and
 * the kernel (RESOLVE_IN_ROOT) have it. This only normalises: what keeps the
 * path inside is how it is opened. INVALID_ARGUMENT for a NUL or an overlong path.
 */
export function cleanPath(name: string): string {
  if (name.includes('\0')) throw invalidArgument('its name holds a NUL');
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const path = parts.join('/');
  if (path.length > PATH_LIMIT) throw invalidArgument(`its name has ${path.length} bytes, more than ${PATH_LIMIT}`);
  return path;
}

/** Path of the directory that holds `path`; empty for the root. */
export const parentOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));

/** Last component of `path`. */
export const baseOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export const join = (directory: string, name: string): string => (directory === '' ? name : `${directory}/${name}`);

/** The directories that hold `path`, the root first. */
export function* ancestorsOf(path: string): Generator<string> {
  if (path === '') return;
  yield '';
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) yield path.slice(0, at);
}

const SCRATCH = 8192;
const scratches = [Buffer.alloc(SCRATCH), Buffer.alloc(SCRATCH)] as const;

function terminated(scratch: Buffer, name: string): Uint8Array {
  if (name.includes('\0')) throw invalidArgument(`${show(name)} holds a NUL`);
  if (name.length >= SCRATCH) return Buffer.from(`${name}\0`, 'latin1');
  const length = scratch.write(name, 'latin1');
  scratch[length] = 0;
  return scratch.subarray(0, length + 1);
}

/** A C string in memory that the next call reuses. */
export const cString = (name: string): Uint8Array => terminated(scratches[0], name);

/** Another one, for calls that take two names. */
export const secondCString = (name: string): Uint8Array => terminated(scratches[1], name);
