/** One ttrpc connection, seen from either side: frames in, frames out, bounded memory. */
import type { Socket } from 'node:net';
import { resourceExhausted } from '../../kernel/errors.js';
import { encodeFrame, type Frame, FrameReader, MAX_FRAME, type OversizedFrame } from './frame.js';

/** Bytes waiting in inboxes, or to be sent, above which nothing more is read from the peer. */
const HIGH_WATER = 2 * MAX_FRAME;

export interface FrameHandler {
  onFrame(frame: Frame): void;
  onOversized(frame: OversizedFrame): void;
  /** Once, when the connection has ended for whatever reason. */
  onClose(error: Error | undefined): void;
}

export class Connection {
  readonly #socket: Socket;
  readonly #handler: FrameHandler;
  readonly #reader = new FrameReader();
  /** Bytes received that nobody has taken yet. */
  #load = 0;
  #error: Error | undefined;

  constructor(socket: Socket, handler: FrameHandler) {
    this.#socket = socket;
    this.#handler = handler;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.#adjust());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => handler.onClose(this.#error));
  }

  /** RESOURCE_EXHAUSTED for data longer than a frame may be. Dropped when the connection has ended. */
  send(frame: Frame): void {
    if (frame.data.length > MAX_FRAME) {
      throw resourceExhausted(`message of ${frame.data.length} bytes is longer than the ${MAX_FRAME} of a ttrpc frame`);
    }
    if (!this.#socket.writable) return;
    const [header, data] = encodeFrame(frame);
    this.#socket.cork();
    this.#socket.write(header);
    if (data.length > 0) this.#socket.write(data);
    this.#socket.uncork();
    this.#adjust();
  }

  /** Tells how many more (or fewer) received bytes wait for somebody to take them. */
  addLoad(bytes: number): void {
    this.#load += bytes;
    this.#adjust();
  }

  /** Resolves when the peer has taken enough that sending more is reasonable, and when it is gone. */
  drained(): Promise<void> {
    const socket = this.#socket;
    if (!socket.writableNeedDrain || !socket.writable) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = (): void => {
        socket.off('drain', settle).off('close', settle);
        resolve();
      };
      socket.on('drain', settle).on('close', settle);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  unref(): void {
    this.#socket.unref();
  }

  #receive(chunk: Buffer): void {
    for (const frame of this.#reader.push(chunk)) {
      if ('oversized' in frame) this.#handler.onOversized(frame);
      else this.#handler.onFrame(frame);
    }
  }

  #adjust(): void {
    const busy = this.#load + this.#socket.writableLength > HIGH_WATER;
    if (busy === this.#socket.isPaused()) return;
    if (busy) this.#socket.pause();
    else this.#socket.resume();
  }
}
