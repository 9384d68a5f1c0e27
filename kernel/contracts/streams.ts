/**
 * Streams: two-way channels of messages that a client opens first and names
 * in a later call, so that the daemon can report progress, ask for
 * credentials or move bytes while that call runs.
 *
 * A stream has an id that is unique in its namespace as long as the stream is
 * open. It ends when either side closes it, or when the client goes away.
 */
import { one } from '../token.js';
import type { AnyMessage, Scope } from './scope.js';

export interface MessageStream {
  /** Resolves when the message has been handed to the transport. UNAVAILABLE once the stream has ended. */
  send(message: AnyMessage): Promise<void>;
  /** The next message in order; undefined once the client has closed its side. Calls may be made ahead of messages. */
  receive(): Promise<AnyMessage | undefined>;
  /** Ends the stream for both sides. Idempotent. */
  close(): void;
}

export interface Streams {
  /** Makes the stream known until `close`d. INVALID_ARGUMENT for an empty id; ALREADY_EXISTS. */
  register(scope: Scope, id: string, stream: MessageStream): void;
  /** NOT_FOUND. */
  get(scope: Scope, id: string): MessageStream;
  /** Forgets the stream; no error when it is not known. */
  unregister(scope: Scope, id: string): void;
}

export const Streams = one<Streams>('streams@1');
