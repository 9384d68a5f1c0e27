/**
 * gRPC calls with as little work in the client as possible, since it shares the machine with what it
 * measures: node:http2, one connection, messages encoded beforehand where that matters.
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';

/** Frame header of a message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX = 5;

export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(PREFIX + message.byteLength);
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, PREFIX);
  return frame;
}

export class Wire implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #metadata: Readonly<Record<string, string>>;

  constructor(socket: string, metadata: Readonly<Record<string, string>>) {
    this.#session = connect('http://localhost', { createConnection: () => connectSocket(socket) });
    this.#metadata = metadata;
  }

  /** One call with one request; its answer is not looked at. `path`: `/package.Service/Method`. */
  call(path: string, frame: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
      const stream = this.#session.request({ ...headers, ...this.#metadata }, { endStream: false });
      let status: unknown;
      let message: unknown;
      const note = (fields: Record<string, unknown>): void => {
        status = fields['grpc-status'] ?? status;
        message = fields['grpc-message'] ?? message;
      };
      stream.on('response', note).on('trailers', note).on('error', reject);
      stream.on('close', () =>
        status === '0' ? resolve() : reject(new Error(`${path}: status ${String(status)}, ${String(message)}`)),
      );
      stream.resume();
      stream.end(frame);
    });
  }

  [Symbol.dispose](): void {
    this.#session.close();
  }
}

/** Runs the work of each index below `count`, so many at a time. */
export async function inParallel(width: number, count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next; index < count; index = next) {
      next += 1;
      await work(index);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
}
