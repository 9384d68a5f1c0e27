/** Sessions with scripted registries, impatient enough for tests. */

import type { Descriptor } from '../../kernel/contracts/scope.js';
import { parseReference } from '../../lib/reference/reference.js';
import { defaultHost, type RegistryHost } from '../../plugins/distribution/registry/host.js';
import {
  RegistrySession,
  type SessionLimits,
  type SessionOptions,
} from '../../plugins/distribution/registry/session.js';

export const IMPATIENT: SessionLimits = {
  retry: { attempts: 5, firstDelay: 5, longestDelay: 3000 },
  dialTimeout: 2000,
  headerTimeout: 600,
  idleTimeout: 600,
  maxDocument: 100_000,
};

export interface TestSession extends Disposable {
  readonly session: RegistrySession;
  /** The bytes of a blob, fetched in chunks of 1000 bytes after those that are there already. */
  blob(descriptor: Descriptor, have?: Buffer): Promise<Buffer>;
}

export function openSession(reference: string, options: Partial<SessionOptions> = {}): TestSession {
  const parsed = parseReference(reference);
  const hosts: readonly RegistryHost[] = [defaultHost(parsed.host)];
  const session = new RegistrySession({
    reference: parsed,
    access: {},
    hosts,
    limits: IMPATIENT,
    userAgent: 'keelson/test',
    ...options,
  });
  return {
    session,
    async blob(descriptor, have = Buffer.alloc(0)) {
      const parts = [have];
      const target = {
        offset: have.length,
        allocate: (remaining: number) => Buffer.alloc(Math.min(1000, remaining)),
        take: async (chunk: Uint8Array) => void parts.push(Buffer.from(chunk)),
      };
      await session.fetchBlob(descriptor, target, never);
      return Buffer.concat(parts);
    },
    [Symbol.dispose]: () => session.close(),
  };
}

/** A signal that never aborts. */
export const never: AbortSignal = new AbortController().signal;
