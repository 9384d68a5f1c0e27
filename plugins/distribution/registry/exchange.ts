/** One HTTP request and the headers of its answer: no redirects, no authentication, no retries. */
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { discard } from './body.js';
import type { Connections } from './connections.js';
import { LATER, RegistryFailure, transportFailure } from './failure.js';

// An import would make an ES module of them, and that loads the whole of fetch and WebSocket with it.
const { request: httpRequest } = process.getBuiltinModule('node:http');
const { request: httpsRequest } = process.getBuiltinModule('node:https');

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

/** What servers answer over a connection on which they did not like the client certificate (nginx has 495 and 496). */
const CERTIFICATE_STATUSES = [400, 495, 496];

/**
 * Resolves when the headers of the answer are here; its body must then be read or destroyed. Shows one client certificate
 * after another until one is not refused. Throws {@link RegistryFailure}.
 */
export async function exchange(request: HttpRequest): Promise<IncomingMessage> {
  const { connections, url } = request;
  for (let left = connections.identitiesToTry; ; left--) {
    const identity = connections.identity;
    try {
      const response = await exchangeOnce(request);
      const isRefused = CERTIFICATE_STATUSES.includes(response.statusCode ?? 0);
      if (!isRefused) connections.accepted(identity);
      if (!isRefused || left <= 1) return response;
      await discard(response, { url, timeout: request.headerTimeout });
    } catch (error) {
      if (left <= 1 || !(error instanceof RegistryFailure && error.mayBeCertificate)) throw error;
    }
    connections.refused(identity);
  }
}

function exchangeOnce(request: HttpRequest): Promise<IncomingMessage> {
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
