/**
 * Bytes over a stream of messages, with credit: the receiver says how much it
 * will take, the sender sends no more (containerd's Transfer API, messages
 * `Data` and `WindowUpdate`).
 */
import { invalidArgument } from '../../kernel/errors.js';
import { type AnyMessage, isAny, type NamedCodec, packAny, unpackAny } from './any.js';

/** Both directions of a stream. */
export interface MessageChannel {
  send(message: AnyMessage): Promise<void> | void;
  /** Undefined when the other side has ended. */
  receive(): Promise<AnyMessage | undefined>;
}

export interface ByteMessages {
  readonly data: NamedCodec<{ data: Uint8Array }>;
  readonly window: NamedCodec<{ update: number }>;
}

/** Bytes of one message, as containerd sends them. */
const DATA = 32 * 1024;
/** Bytes of one message to who gives leave for as many at once, as we do: fewer messages cost less. */
const LARGE_DATA = 256 * 1024;
/** Bytes that may be under way to us at least. */
const WINDOW = 1024 * 1024;

/**
 * Everything the other side sends, until it ends its side. INVALID_ARGUMENT when it sends what it may not. It has leave
 * for `window` bytes at least, and for at most three times as many.
 */
export async function* receiveBytes(
  channel: MessageChannel,
  messages: ByteMessages,
  window = WINDOW,
): AsyncGenerator<Uint8Array> {
  let open = 0;
  for (;;) {
    if (open < window) {
      await channel.send(packAny(messages.window, { update: 2 * window }));
      open += 2 * window;
    }
    const message = await channel.receive();
    if (message === undefined) return;
    const { data } = unpackAny(messages.data, message);
    if (data.length > open) throw invalidArgument('the stream carries more bytes than it was given leave to');
    open -= data.length;
    if (data.length > 0) yield data;
  }
}

/** Sends all bytes, as the other side gives leave. Resolves early when that side has gone. */
export async function sendBytes(
  channel: MessageChannel,
  messages: ByteMessages,
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  let leave = 0;
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; ) {
      while (leave <= 0) {
        const message = await channel.receive();
        if (message === undefined) return;
        if (isAny(messages.window, message)) leave += unpackAny(messages.window, message).update;
      }
      const most = leave >= LARGE_DATA ? LARGE_DATA : Math.min(DATA, leave);
      const part = chunk.subarray(at, at + most);
      await channel.send(packAny(messages.data, { data: part }));
      at += part.length;
      leave -= part.length;
    }
  }
}
