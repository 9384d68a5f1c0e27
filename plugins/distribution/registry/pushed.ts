/** What is pushed, and what a registry says it has stored. */
import type { IncomingMessage } from 'node:http';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import type { StreamedBody } from './exchange.js';
import { LATER, RegistryFailure } from './failure.js';

/** A blob to send. */
export interface PushedBlob {
  readonly descriptor: Descriptor;
  /** Repositories of the same registry that are known to have it. */
  readonly mountFrom: readonly string[];
  /** Its bytes from `offset` on, `length` of them at most. A chunk may be reused once the next one is asked for. */
  read(offset: number, length: number): AsyncIterable<Uint8Array>;
  /** Told how much of the blob has been sent. */
  sent?(bytes: number): void;
}

export type PushOutcome = 'uploaded' | 'mounted' | 'exists';

export const bodyOf = (bytes: Uint8Array): StreamedBody => ({
  size: bytes.length,
  async *open() {
    if (bytes.length > 0) yield bytes;
  },
});

/** A registry that stored other bytes than it was sent has stored nothing. */
export function checkDigest(doing: string, { headers }: IncomingMessage, digest: string): void {
  const said = headers['docker-content-digest'];
  if (said === undefined || said === digest) return;
  const shown = String(said).slice(0, 140);
  const message = `${doing}: the registry says that it has stored "${shown}"`;
  throw new RegistryFailure('FAILED_PRECONDITION', message, { retry: LATER });
}
