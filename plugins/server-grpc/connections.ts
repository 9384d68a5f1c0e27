/** HTTP/2 connections, from the first byte of the peer to the end of the last answer. */
import {
  constants,
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { within } from './within.js';

/**
 * Streams given up at once, and in a second, on one connection: more than anybody manages. Node ends a connection on which
 * clients give up streams again and again (a thousand, then 33 in a second). containerd's clients do just that: `ctr content
 * get` gives up each of its reads, of 32 KB, once it has the bytes. Whoever can reach the socket needs no such means to do harm.
 */
const MOST_RESETS = 1_000_000;

/** As grpc-js has it: a header is as long as it is, and Node does badly at its own limit of a session's memory. */
const OPTIONS = {
  maxSendHeaderBlockLength: Number.MAX_SAFE_INTEGER,
  maxSessionMemory: Number.MAX_SAFE_INTEGER,
  streamResetBurst: MOST_RESETS,
  streamResetRate: MOST_RESETS,
};

export class Connections {
  /** Accepts connections once it listens. */
  readonly acceptor: Server;
  readonly #http: Http2Server;
  readonly #sockets = new Set<Socket>();
  /** Those of them that have said nothing yet. */
  readonly #silent = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(take: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void) {
    this.#http = createHttp2Server(OPTIONS)
      .on('stream', take)
      .on('session', (session) => {
        this.#sessions.add(session);
        session.once('close', () => this.#sessions.delete(session));
      });
    this.acceptor = createServer((socket) => this.#add(socket));
  }

  /** Lets go of those that have said nothing. */
  closeSilent(): void {
    for (const socket of this.#silent) socket.destroy();
  }

  /** Lets go of those without a call at once, of the others when their calls have ended or so many milliseconds have passed. */
  async close(grace: number): Promise<void> {
    for (const session of this.#sessions) session.close();
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    await within(Promise.all(closed), grace);
    for (const session of this.#sessions) session.destroy(undefined, constants.NGHTTP2_CANCEL);
    for (const socket of this.#sockets) socket.destroy();
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket);
    this.#silent.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#silent.delete(socket);
    });
    this.#listen(socket);
  }

  /**
   * The session is made when the peer has said something, as every client does at once (RFC 9113, 3.4): a connection that
   * only looks whether somebody answers does not cost one, which is most of what a connection costs.
   */
  #listen(socket: Socket): void {
    // A connection that breaks before is closed, and that is all.
    const ignore = (): void => {};
    socket.on('error', ignore);
    socket.once('readable', () => {
      socket.off('error', ignore);
      this.#silent.delete(socket);
      if (socket.readableLength > 0) this.#http.emit('connection', socket);
      else socket.destroy();
    });
  }
}
