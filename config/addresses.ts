/** Settings that go by others unless they are set themselves: where the sockets of the daemon are, and whose. */
import type { KeyPath } from '../kernel/config.js';
import { childAt, type Table, withChild } from './tree.js';

interface Follower {
  readonly path: KeyPath;
  readonly follows: KeyPath;
  /** Makes the value; undefined for one of a wrong type, which is left to those who check it. */
  readonly value: (followed: unknown) => unknown;
}

const setting = (plugin: string, key: string): KeyPath => ['plugins', plugin, 'config', key];

const address =
  (suffix: string) =>
  (value: unknown): unknown =>
    typeof value === 'string' ? `${value}${suffix}` : undefined;

const owner = (value: unknown): unknown => (typeof value === 'number' ? value : undefined);

/** In order: a follower may itself be followed. */
const FOLLOWERS: readonly Follower[] = [
  { path: setting('server-ttrpc', 'address'), follows: setting('server-grpc', 'address'), value: address('.ttrpc') },
  { path: setting('server-ttrpc', 'uid'), follows: setting('server-grpc', 'uid'), value: owner },
  { path: setting('server-ttrpc', 'gid'), follows: setting('server-grpc', 'gid'), value: owner },
  { path: setting('runtime-shim', 'address'), follows: setting('server-grpc', 'address'), value: address('') },
  { path: setting('runtime-shim', 'ttrpc_address'), follows: setting('server-ttrpc', 'address'), value: address('') },
];

export const withAddresses = (table: Table): Table =>
  FOLLOWERS.reduce((whole, { path, follows, value: make }) => {
    const followed = childAt(whole, follows);
    if (followed?.kind !== 'leaf' || childAt(whole, path) !== undefined) return whole;
    const value = make(followed.value);
    return value === undefined ? whole : withChild(whole, path, { ...followed, value });
  }, table);
