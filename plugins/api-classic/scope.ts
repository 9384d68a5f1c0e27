/** The API of 2017 knows no namespaces: a caller that names none works in the configured one. */
import type { Scope } from '../../kernel/contracts/scope.js';
import { checkIdentifier } from '../../lib/identifier.js';
import type { Call } from '../../lib/rpc/definition.js';

export type ScopeOf = (call: Call) => Scope;

export const scopeIn =
  (fallback: string): ScopeOf =>
  (call) => {
    const namespace = call.metadata('containerd-namespace') ?? fallback;
    checkIdentifier(namespace, 'namespace');
    return { namespace, signal: call.signal };
  };

/** Nor does it know leases or labels: what it makes is kept until it is deleted. */
export const kept = (): Record<string, string> => ({ 'containerd.io/gc.root': new Date().toISOString() });
