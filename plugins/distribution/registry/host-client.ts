/** Requests to one host of a registry: its paths, its headers, its authentication. */

import type { OutgoingHttpHeaders } from 'node:http';
import { refusal } from './addresses.js';
import { Authorizer } from './authorizer.js';
import { discard, readWhole } from './body.js';
import { Connections } from './connections.js';
import type { HttpMethod, StreamedBody } from './exchange.js';
import { messageOf, RegistryFailure, showUrl, statusFailure } from './failure.js';
import { type Capability, isMirrorOf, type RegistryHost } from './host.js';
import type { Redactor } from './redactor.js';
import { type Answer, follow } from './redirects.js';
import { pullScope } from './scopes.js';
import type { SessionOptions } from './session.js';
import { TokenServer } from './token-server.js';

/** Bytes of an error's body. */
const MAX_EXPLANATION = 64 * 1024;
/** Requests for one thing, each with other proof of who we are. */
const MAX_ROUNDS = 3;

export interface HostClientOptions extends SessionOptions {
  readonly redactor: Redactor;
  /** Aborts with the session. */
  readonly closed: AbortSignal;
}

export interface HostRequest {
  readonly method: HttpMethod;
  /** Below the repository, such as `manifests/latest`, or a whole address that this host gave. */
  readonly path: string | URL;
  readonly query?: Readonly<Record<string, string>>;
  readonly accept?: readonly string[];
  readonly range?: string;
  /** What describes the body. */
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: StreamedBody;
  /** Milliseconds; default: that of the session. */
  readonly headerTimeout?: number;
  readonly signal: AbortSignal;
}

export interface HostAnswer extends Answer {
  readonly status: number;
}

export class HostClient {
  readonly capabilities: readonly Capability[];
  readonly #host: RegistryHost;
  readonly #options: HostClientOptions;
  readonly #connections: Connections;
  /** For redirects and token servers: the same trust, but not our client certificates. */
  readonly #foreign: Connections;
  readonly #authorizer: Authorizer;

  constructor(host: RegistryHost, options: HostClientOptions) {
    const { reference, access, limits, redactor, closed, userAgent } = options;
    this.capabilities = host.capabilities;
    this.#host = host;
    this.#options = options;
    const dialTimeout = host.dialTimeout ?? limits.dialTimeout;
    const { identities: _identities, ...foreignTls } = host.tls;
    this.#connections = new Connections(host.tls, dialTimeout);
    this.#foreign = new Connections(foreignTls, limits.dialTimeout);
    for (const value of [...Object.values(host.headers).flat(), ...Object.values(access.headers ?? {})])
      redactor.add(value);
    const text = `${reference.host}/${reference.repository}`;
    this.#authorizer = new Authorizer({
      host: this.#credentialsHost(),
      base: host.base,
      redactor,
      credentials: async (challenges) =>
        access.credentials?.({ host: this.#credentialsHost(), reference: text, challenges }),
      tokens: new TokenServer({
        connectionsFor: (realm) => (realm.origin === host.base.origin ? this.#connections : this.#foreign),
        foreignConnections: this.#foreign,
        redactor,
        signal: closed,
        headerTimeout: limits.headerTimeout,
        userAgent,
      }),
    });
  }

  /** As containerd asks: the host that is contacted, `registry-1.docker.io` for Docker Hub. */
  #credentialsHost(): string {
    return this.#host.base.host;
  }

  close(): void {
    this.#connections.close();
    this.#foreign.close();
  }

  /** The answer, whatever its status except 401. Throws {@link RegistryFailure} when there is none. */
  async request(request: HostRequest): Promise<HostAnswer> {
    const scopes = this.#options.scopes ?? [pullScope(this.#options.reference.repository)];
    for (let round = 1; ; round++) {
      const authorization = await this.#authorizer.header();
      const answer = await this.#send(request, authorization);
      if (answer.status !== 401) return answer;
      const challenges = answer.response.headersDistinct['www-authenticate'] ?? [];
      const failure = await this.failure('the registry wants to know who asks', answer);
      // Another host than the registry's has no business with its credentials.
      if (!answer.own || round === MAX_ROUNDS) throw failure;
      await this.#authorizer.challenged(challenges, authorization, scopes);
    }
  }

  async #send(request: HostRequest, authorization: string | undefined): Promise<HostAnswer> {
    const { access, limits, closed, userAgent } = this.#options;
    const { accept, range, body } = request;
    const url = this.#url(request);
    const answer = await follow({
      method: request.method,
      url,
      own: url.origin === this.#host.base.origin,
      headers: {
        'user-agent': userAgent,
        accept: [...(accept ?? []), '*/*'].join(', '),
        'accept-encoding': 'identity',
        ...(range === undefined ? {} : { range }),
        ...(body === undefined ? {} : { 'content-length': body.size }),
        ...request.headers,
      },
      ...(body === undefined ? {} : { body }),
      privateHeaders: {
        ...access.headers,
        ...Object.fromEntries(Object.entries(this.#host.headers).map(([name, value]) => [name, [...[value].flat()]])),
        ...(authorization === undefined ? {} : { authorization }),
      },
      connections: this.#connections,
      foreignConnections: this.#foreign,
      headerTimeout: request.headerTimeout ?? limits.headerTimeout,
      signal: AbortSignal.any([request.signal, closed]),
    });
    return { ...answer, status: answer.response.statusCode ?? 0 };
  }

  #url({ path, query = {} }: HostRequest): URL {
    const { reference } = this.#options;
    const url = new URL(path instanceof URL ? path : this.#host.base);
    if (!(path instanceof URL)) {
      url.pathname = `${url.pathname.replace(/\/$/, '')}/${reference.repository}/${path}`;
      if (isMirrorOf(this.#host, reference.host)) url.searchParams.set('ns', reference.host);
    }
    const added = new URLSearchParams(query).toString();
    // Not through searchParams: what the host wrote stays as it wrote it.
    if (added !== '') url.search += url.search === '' ? `?${added}` : `&${added}`;
    return url;
  }

  /** The address an answer of this host names. FAILED_PRECONDITION without a usable one. */
  location(answer: HostAnswer, text: string | undefined = answer.response.headers.location): URL {
    const next = text === undefined || !URL.canParse(text, answer.url) ? undefined : new URL(text, answer.url);
    if (!next) {
      throw new RegistryFailure('FAILED_PRECONDITION', `${showUrl(answer.url)} names no usable address`);
    }
    next.username = '';
    next.password = '';
    const refused = refusal(answer.url, next);
    if (refused === undefined) return next;
    const message = `the address that ${showUrl(answer.url)} names, at "${next.host}", is not used: ${refused}`;
    throw new RegistryFailure('FAILED_PRECONDITION', message);
  }

  /** The failure that an answer of the wrong status is, with what the server says about it. Reads its body. */
  async failure(doing: string, answer: HostAnswer): Promise<RegistryFailure> {
    const { url, response, status } = answer;
    const explanation = await this.#explanation(answer);
    return statusFailure(doing, { url, status, headers: response.headers, explanation });
  }

  async #explanation({ url, response }: HostAnswer): Promise<string> {
    try {
      const body = await readWhole(response, MAX_EXPLANATION, { url, timeout: this.#options.limits.idleTimeout });
      return this.#options.redactor.clean(messageOf(body.toString()));
    } catch (error) {
      if (!(error instanceof RegistryFailure)) throw error;
      response.destroy();
      return '';
    }
  }

  /** Reads an answer that is not used. */
  drop({ url, response }: HostAnswer): Promise<void> {
    return discard(response, { url, timeout: this.#options.limits.idleTimeout });
  }
}
