import { setTimeout as delay } from 'node:timers/promises';
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { canceled, hasCode } from '../../kernel/errors.js';
import { ingestRef } from '../../lib/oci/media-types.js';

/** Milliseconds between two tries to open an ingest that somebody else holds. */
const FIRST_WAIT = 16;
const LONGEST_WAIT = 2000;

/**
 * Opens the ingest of a descriptor, waiting while another client holds it;
 * undefined when the content is here already. Either way the lease of the scope holds it.
 */
export async function openWriter(
  content: Content,
  scope: Scope,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<ContentWriter | undefined> {
  const options = { ref: ingestRef(descriptor), total: descriptor.size, expected: descriptor.digest };
  for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    if (signal.aborted) throw canceled('the transfer was cancelled', { cause: signal.reason });
    try {
      return await content.writer(scope, options);
    } catch (error) {
      if (hasCode(error, 'ALREADY_EXISTS')) return undefined;
      if (!hasCode(error, 'UNAVAILABLE')) throw error;
    }
    await delay(wait / 2 + (Math.random() * wait) / 2, undefined, { signal }).catch(() => {});
  }
}
