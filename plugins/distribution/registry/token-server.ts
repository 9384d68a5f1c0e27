/**
 * Fetches bearer tokens (distribution spec: token authentication; OAuth 2 for
 * refresh tokens).
 */
import { z } from 'zod';
import type { Credentials } from '../../../kernel/contracts/distribution.js';
import { refusal } from './addresses.js';
import { readWhole } from './body.js';
import type { Connections } from './connections.js';
import { messageOf, RegistryFailure, showUrl, statusFailure } from './failure.js';
import type { Redactor } from './redactor.js';
import { follow } from './redirects.js';

/** Bytes of a token answer. */
const MAX_ANSWER = 1024 * 1024;
/** Bytes of an error's text that are looked at. */
const MAX_EXPLANATION = 64 * 1024;
/** Seconds, when the server does not say. */
const DEFAULT_LIFETIME = 60;

const answerSchema = z.object({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  expires_in: z.number().nonnegative().nullish(),
});

export interface TokenRequest {
  readonly realm: URL;
  readonly service: string;
  readonly scopes: readonly string[];
  readonly credentials: Credentials | undefined;
  /** The registry host it is for. */
  readonly host: string;
}

export interface Token {
  readonly token: string;
  /** Milliseconds. */
  readonly lifetime: number;
}

export interface TokenServerOptions {
  /** Which connections may be used for a token server. */
  readonly connectionsFor: (realm: URL) => Connections;
  readonly foreignConnections: Connections;
  readonly redactor: Redactor;
  readonly signal: AbortSignal;
  /** Milliseconds, as {@link HttpRequest.headerTimeout}. */
  readonly headerTimeout: number;
  readonly userAgent: string;
}

export class TokenServer {
  readonly #options: TokenServerOptions;

  constructor(options: TokenServerOptions) {
    this.#options = options;
  }

  /** Why a registry may not name that token server. */
  refusal(registry: URL, realm: URL): string | undefined {
    return refusal(registry, realm);
  }

  /** UNAUTHENTICATED when the server gives none; its own failures as {@link RegistryFailure}. */
  async fetch(request: TokenRequest): Promise<Token> {
    const { connectionsFor, foreignConnections, redactor, signal, headerTimeout, userAgent } = this.#options;
    const refresh = request.credentials?.kind === 'refresh-token' ? request.credentials.token : undefined;
    const terms = refresh === undefined ? getTerms(request) : postTerms(request, refresh);
    redactor.add(terms.secret);
    const answer = await follow({
      ...terms.request,
      headers: { 'user-agent': userAgent, accept: 'application/json', 'accept-encoding': 'identity' },
      connections: connectionsFor(request.realm),
      foreignConnections,
      headerTimeout,
      signal,
    });
    const { url, response } = answer;
    const body = await readWhole(response, MAX_ANSWER, { url, timeout: headerTimeout });
    const status = response.statusCode ?? 0;
    if (status !== 200) {
      const explanation = redactor.clean(messageOf(body.toString('utf8', 0, MAX_EXPLANATION)));
      // "Not found" or "forbidden" here says nothing about the image.
      const code = status >= 400 && status < 500 && status !== 429 ? ({ code: 'UNAUTHENTICATED' } as const) : {};
      const failed = { url, status, headers: response.headers, explanation, ...code };
      throw statusFailure(`getting a token for registry "${request.host}"`, failed);
    }
    const token = parseToken(url, body);
    redactor.add(token.token);
    return token;
  }
}

function getTerms({ realm, service, scopes, credentials }: TokenRequest) {
  const url = new URL(realm);
  if (service !== '') url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  if (credentials?.kind !== 'password')
    return { secret: '', request: { method: 'GET' as const, url, privateHeaders: {} } };
  url.searchParams.set('account', credentials.username);
  const secret = Buffer.from(`${credentials.username}:${credentials.secret}`).toString('base64');
  return { secret, request: { method: 'GET' as const, url, privateHeaders: { authorization: `Basic ${secret}` } } };
}

function postTerms({ realm, service, scopes }: TokenRequest, secret: string) {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    service,
    scope: scopes.join(' '),
    client_id: 'keelson',
    refresh_token: secret,
  });
  const privateHeaders = { 'content-type': 'application/x-www-form-urlencoded' };
  return { secret, request: { method: 'POST' as const, url: realm, body: form.toString(), privateHeaders } };
}

function parseToken(url: URL, body: Buffer): Token {
  const parsed = answerSchema.safeParse(readJson(body));
  const token = parsed.success ? parsed.data.token || parsed.data.access_token : undefined;
  if (!parsed.success || !token || !/^[\x21-\x7e]+$/.test(token)) {
    throw new RegistryFailure('UNAUTHENTICATED', `the token server ${showUrl(url)} gave no usable token`);
  }
  return { token, lifetime: Math.max(parsed.data.expires_in ?? DEFAULT_LIFETIME, 1) * 1000 };
}

/** Undefined when it is not JSON. */
function readJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}
