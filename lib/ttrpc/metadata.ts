/** Request metadata of containerd over ttrpc. */
import { failedPrecondition } from '../../kernel/errors.js';
import { checkIdentifier } from '../identifier.js';
import type { Call } from '../rpc/definition.js';

export const NAMESPACE_KEY = 'containerd-namespace-ttrpc';
export const LEASE_KEY = 'containerd-lease';

/** The metadata that says on whose behalf a call is made. */
export const scopeMetadata = (scope: {
  readonly namespace: string;
  readonly lease?: string;
}): Record<string, string> =>
  scope.lease === undefined
    ? { [NAMESPACE_KEY]: scope.namespace }
    : { [NAMESPACE_KEY]: scope.namespace, [LEASE_KEY]: scope.lease };

/** The call as handlers see it. */
export function makeCall(pairs: readonly (readonly [string, string])[], signal: AbortSignal): Call {
  const metadata = (key: string): string | undefined => pairs.find(([name]) => name.toLowerCase() === key)?.[1];
  return {
    signal,
    metadata,
    scope() {
      const namespace = metadata(NAMESPACE_KEY);
      if (namespace === undefined || namespace === '') throw failedPrecondition('namespace is required');
      checkIdentifier(namespace, 'namespace');
      const lease = metadata(LEASE_KEY);
      return lease === undefined ? { namespace, signal } : { namespace, lease, signal };
    },
  };
}
