/** Whom to believe who a server is. */
import { getCACertificates } from 'node:tls';

let authorities: readonly string[] | undefined;

const SOURCES = ['bundled', 'system', 'extra'] as const;

/**
 * The authorities of the runtime, of the system, where administrators add their own, and of NODE_EXTRA_CA_CERTS; read
 * once. Each is named: the default of programs is that of OpenSSL (bin/keelsond), which is not parsed until it is used.
 */
export function trustedAuthorities(): readonly string[] {
  authorities ??= [...new Set(SOURCES.flatMap((source) => getCACertificates(source)))];
  return authorities;
}
