/** Whom to believe who a server is. */
import { getCACertificates } from 'node:tls';

let authorities: readonly string[] | undefined;

/** The authorities of the runtime and of the system, where administrators add their own; read once. */
export function trustedAuthorities(): readonly string[] {
  authorities ??= [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
  return authorities;
}
