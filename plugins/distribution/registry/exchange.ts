/** One HTTP request and the headers of its answer: no redirects, no authentication, no retries. */
import type { Agent, ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';
import { diverting } from './diversion.js';
import { LATER, RegistryFailure, transportFailure } from './failure.js';
import { trustedAuthorities } from './trust.js';

// An import would make an ES module of them, and that loads the whole of fetch and WebSocket with it.
const { Agent: HttpAgent, request: httpRequest } = process.getBuiltinModule('node:http');
const { Agent: HttpsAgent, request: httpsRequest } = process.getBuiltinModule('node:https');

export interface TlsSettings {
  /** PEM texts trusted besides the usual ones. */
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly skipVerify?: boolean;
}

/**
 * Kept-open connections that share their TLS settings. Agents honour
 * HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment, as all Go clients do.
 */
export class Connections {
  readonly #tls: TlsSettings;
  /** Milliseconds until connected, TLS included. */
  readonly dialTimeout: number;
  readonly #http = diverting(new HttpAgent({ keepAlive: true, proxyEnv: process.env }));
  #https: SecureAgent | undefined;

  constructor(tls: TlsSettings, dialTimeout: number) {
    this.#tls = tls;
    this.dialTimeout = dialTimeout;
  }

  /** Made at first use: reading all authorities takes tens of milliseconds, which plain http need not spend. */
  agent(protocol: string): Agent {
    if (protocol !== 'https:') return this.#http;
    const { skipVerify } = this.#tls;
    this.#https ??= diverting(
      new HttpsAgent({
        keepAlive: true,
        proxyEnv: process.env,
        rejectUnauthorized: !skipVerify,
        secureContext: secureContext(this.#tls),
      }),
    );
    return this.#https;
  }

  close(): void {
    this.#http.destroy();
    this.#https?.destroy();
  }
}

function secureContext({ ca, cert, key }: TlsSettings): SecureContext {
  const identity = cert === undefined ? {} : { cert, key: key ?? cert };
  return createSecureContext({ ca: [...trustedAuthorities(), ...(ca ?? [])], ...identity });
}

/** A body that is sent as it is read; opened again for each try. */
export interface StreamedBody {
  /** Bytes, exactly. */
  readonly size: number;
  /** A chunk may be reused once the next one is asked for. */
  open(): AsyncIterable<Uint8Array>;
}

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';

export interface HttpRequest {
  readonly method: HttpMethod;
  readonly url: URL;
  readonly headers: OutgoingHttpHeaders;
  /** A text is sent to nobody but the first server: it may hold a secret. */
  readonly body?: string | StreamedBody;
  readonly connections: Connections;
  /** Milliseconds from the start, or from the last byte sent, to the last header byte. */
  readonly headerTimeout: number;
  readonly signal: AbortSignal;
}

/** Resolves when the headers of the answer are here; its body must then be read or destroyed. Throws {@link RegistryFailure}. */
export function exchange(request: HttpRequest): Promise<IncomingMessage> {
  const { method, url, headers, connections, signal } = request;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const secure = url.protocol === 'https:';
  const options = { method, headers, signal, agent: connections.agent(url.protocol) };
  const outgoing = secure ? httpsRequest(url, options) : httpRequest(url, options);

  let local: unknown;
  const timeOut = (what: string, after: number) =>
    setTimeout(() => {
      const message = `registry "${url.host}" ${what} within ${Math.ceil(after / 1000)} s`;
      outgoing.destroy(new RegistryFailure('DEADLINE_EXCEEDED', message, { retry: LATER }));
    }, after);
  const headerTimer = timeOut('did not answer', request.headerTimeout);
  let dialTimer: NodeJS.Timeout | undefined;
  outgoing.once('socket', (socket) => {
    if (!socket.connecting) return;
    dialTimer = timeOut('could not be connected to', connections.dialTimeout);
    socket.once(secure ? 'secureConnect' : 'connect', () => clearTimeout(dialTimer));
  });
  const settle = () => {
    clearTimeout(headerTimer);
    clearTimeout(dialTimer);
  };

  outgoing.once('response', (response) => {
    settle();
    // An answer before all was sent: nobody reads the rest.
    response.once('close', () => {
      if (!outgoing.writableFinished) outgoing.destroy();
    });
    resolve(response);
  });
  // Stays for the life of the request: a connection that breaks later reports here too.
  outgoing.on('error', (error) => {
    settle();
    reject(local ?? transportFailure(url, error));
  });
  const { body } = request;
  if (body === undefined || typeof body === 'string') outgoing.end(body);
  else {
    const sent = send(outgoing, body, () => headerTimer.refresh());
    sent.catch((error: unknown) => {
      // What went wrong on this side is told as it is, not as a broken connection.
      local = error;
      outgoing.destroy(error instanceof Error ? error : undefined);
    });
  }
  return promise;
}

/** Sends a body no faster than the server takes it; stops without an error when the connection or the server ends the request. */
async function send(outgoing: ClientRequest, body: StreamedBody, progressed: () => void): Promise<void> {
  let answered = false;
  outgoing.once('response', () => {
    answered = true;
  });
  for await (const chunk of body.open()) {
    if (answered || outgoing.destroyed) return;
    const broken = await new Promise<boolean>((resolve) => {
      outgoing.write(chunk, (error) => resolve(Boolean(error)));
    });
    if (broken) return;
    progressed();
  }
  if (!outgoing.destroyed) outgoing.end();
}
