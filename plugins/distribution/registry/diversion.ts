/**
 * Bodies past the HTTP parser. A socket normally makes a new buffer for every
 * 64 KB that arrive, and hundreds of megabytes of them cost more in garbage
 * collection than reading them does. Sockets made here read into memory that is
 * used again; once the headers of an answer have been parsed, what follows can
 * be diverted straight into the reader's own chunks.
 */
import type { Agent, IncomingMessage } from 'node:http';
import { type OnReadOpts, Socket } from 'node:net';

/** Where diverted bytes go. Both return false when no more can be taken until the socket is resumed. */
export interface Diversion {
  /** Memory for the next bytes; undefined when there is none now, and they come by `packet` then. */
  next(): Uint8Array | undefined;
  /** So many bytes are in what `next` returned. */
  filled(bytes: number): boolean;
  /** Bytes that came before there was a place for them; their memory is used again behind the call. */
  packet(bytes: Buffer): boolean;
}

/** Bytes of an answer's headers, or of a small body, that are read at once. */
const USUAL = 64 * 1024;

class Channel {
  readonly #usual = Buffer.allocUnsafeSlow(USUAL);
  #diversion: Diversion | undefined;
  socket: Socket | undefined;

  readonly onread: OnReadOpts = {
    buffer: () => this.#diversion?.next() ?? this.#usual,
    callback: (bytes, buffer) => {
      if (!this.#diversion) return this.#pass(Buffer.from(buffer.subarray(0, bytes)));
      return buffer === this.#usual
        ? this.#diversion.packet(this.#usual.subarray(0, bytes))
        : this.#diversion.filled(bytes);
    },
  };

  divert(diversion: Diversion): void {
    this.#diversion = diversion;
  }

  /** To whoever listens to the socket as a stream, the HTTP parser. */
  #pass(bytes: Buffer): boolean {
    return this.socket?.push(bytes) ?? false;
  }
}

const channels = new WeakMap<object, Channel>();

/** What agents take connections from; a proxy's tunnel is made in steps, which only the agent knows. */
type Connect = Agent['createConnection'];

const PROXIES = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'];

/** Lets the bodies that come over the agent's connections be diverted, as far as these are direct. */
export function diverting<A extends Agent>(agent: A): A {
  if (PROXIES.some((name) => process.env[name])) return agent;
  const connect: Connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const channel = new Channel();
    const socket = connect(Object.assign({}, options, { onread: channel.onread }), callback);
    if (socket instanceof Socket) channel.socket = socket;
    if (socket) channels.set(socket, channel);
    return socket;
  };
  return agent;
}

/** Whether what is still to come of this body can be told from what the parser has seen. */
export function canDivert({ socket, complete, headers, readableLength }: IncomingMessage): boolean {
  const isFramed = headers['content-length'] !== undefined && headers['transfer-encoding'] === undefined;
  return isFramed && !complete && readableLength === 0 && socket.readableLength === 0 && channels.has(socket);
}

/** From the next bytes on the parser sees nothing of the body: the connection cannot serve again, and must be destroyed. */
export function divert({ socket }: IncomingMessage, diversion: Diversion): void {
  channels.get(socket)?.divert(diversion);
  socket.resume();
}
