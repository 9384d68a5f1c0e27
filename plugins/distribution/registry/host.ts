/** The hosts to ask for a registry's images: mirrors first, the registry itself last. */
import { isLoopback } from './addresses.js';
import type { TlsSettings } from './connections.js';

export type Capability = 'pull' | 'resolve' | 'push' | 'referrers';

export const CAPABILITIES: readonly Capability[] = ['pull', 'resolve', 'push', 'referrers'];

export interface RegistryHost {
  /** Scheme, host and the path of the API: `https://registry-1.docker.io/v2`, without a slash at the end. */
  readonly base: URL;
  readonly capabilities: readonly Capability[];
  /** Sent with every request to this host. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly tls: TlsSettings;
  /** Milliseconds; undefined for the default. */
  readonly dialTimeout?: number;
}

const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_API = 'registry-1.docker.io';

/** The port of a host as written, or empty. */
const portOf = (host: string): string => /:(\d+)$/.exec(host)?.[1] ?? '';

/** https everywhere, except on this machine, where containerd too takes http unless the port says otherwise. */
function defaultSchemeOf(host: string): 'http' | 'https' {
  const port = portOf(host);
  const name = port === '' ? host : host.slice(0, -port.length - 1);
  return isLoopback(name) && port !== '443' && port !== '' ? 'http' : 'https';
}

/** The host that a reference names, as no configuration mentions it. */
export function defaultHost(host: string, scheme?: 'http' | 'https'): RegistryHost {
  const base =
    host === DOCKER_HUB
      ? new URL(`https://${DOCKER_HUB_API}/v2`)
      : new URL(`${scheme ?? defaultSchemeOf(host)}://${host}/v2`);
  return { base, capabilities: CAPABILITIES, headers: {}, tls: {} };
}

/** True for a mirror: it must be told for which registry it stands (`?ns=`). */
export const isMirrorOf = (host: RegistryHost, registry: string): boolean =>
  host.base.host !== registry && !(registry === DOCKER_HUB && host.base.host === DOCKER_HUB_API);
