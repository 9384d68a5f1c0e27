/** Follows redirects without ever carrying credentials to another origin. */
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { refusal } from './addresses.js';
import { discard } from './body.js';
import type { Connections } from './connections.js';
import { exchange, type HttpRequest } from './exchange.js';
import { RegistryFailure, showUrl } from './failure.js';

const MAX_HOPS = 10;
const REDIRECTS = [301, 302, 303, 307, 308];

export interface FollowedRequest extends Omit<HttpRequest, 'headers' | 'connections'> {
  /** Sent to every origin. */
  readonly headers: OutgoingHttpHeaders;
  /** Sent to the origin of `url` only: credentials, and headers the user configured for it. */
  readonly privateHeaders: OutgoingHttpHeaders;
  /** Connections of the origin of `url`, its client certificate included. */
  readonly connections: Connections;
  /** Connections to any other origin. */
  readonly foreignConnections: Connections;
  /** False when `url` itself is another origin's: it gets neither private headers nor connections. Default: true. */
  readonly own?: boolean;
}

export interface Answer {
  readonly response: IncomingMessage;
  /** Where it came from in the end. */
  readonly url: URL;
  /** False when another origin answered, which never saw the private headers. */
  readonly own: boolean;
}

/** A request that changes something is repeated elsewhere only when the server says to repeat it as it is, and never with a secret in it. */
const isRepeatable = ({ method, body }: FollowedRequest, status: number): boolean => {
  if (typeof body === 'string') return false;
  return method === 'GET' || method === 'HEAD' || status === 307 || status === 308;
};

function target(from: URL, location: string | undefined): URL {
  const next = location === undefined || !URL.canParse(location, from) ? undefined : new URL(location, from);
  if (!next) {
    throw new RegistryFailure('FAILED_PRECONDITION', `${showUrl(from)} redirects to no usable address`);
  }
  // User information would be sent as credentials of its own.
  next.username = '';
  next.password = '';
  const refused = refusal(from, next);
  if (refused === undefined) return next;
  throw new RegistryFailure(
    'FAILED_PRECONDITION',
    `the redirect of ${showUrl(from)} to "${next.host}" is not followed: ${refused}`,
  );
}

/** Sends the request and follows up to ten redirects. Private headers are dropped at the first foreign origin, for good. */
export async function follow(request: FollowedRequest): Promise<Answer> {
  const { headers, privateHeaders, connections, foreignConnections, own: _own, ...rest } = request;
  let url = request.url;
  let own = request.own ?? true;
  for (let hop = 0; hop <= MAX_HOPS; hop++) {
    const response = await exchange({
      ...rest,
      url,
      headers: own ? { ...headers, ...privateHeaders } : headers,
      connections: own ? connections : foreignConnections,
    });
    if (!REDIRECTS.includes(response.statusCode ?? 0)) return { response, url, own };
    await discard(response, { url, timeout: request.headerTimeout });
    if (!isRepeatable(request, response.statusCode ?? 0)) {
      throw new RegistryFailure(
        'FAILED_PRECONDITION',
        `the redirect of ${showUrl(url)} is not followed with a request that has a body`,
      );
    }
    url = target(url, response.headers.location);
    own &&= url.origin === request.url.origin;
  }
  throw new RegistryFailure('FAILED_PRECONDITION', `${showUrl(request.url)} redirects more than ${MAX_HOPS} times`);
}
