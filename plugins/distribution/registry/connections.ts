/** Kept-open connections to a server, and who they say we are. */
import type { Agent } from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';
import { diverting } from './diversion.js';
import { trustedAuthorities } from './trust.js';

// An import would make an ES module of them, and that loads the whole of fetch and WebSocket with it.
const { Agent: HttpAgent } = process.getBuiltinModule('node:http');
const { Agent: HttpsAgent } = process.getBuiltinModule('node:https');

/** A client certificate and its key, as PEM texts. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface TlsSettings {
  /** PEM texts trusted besides the usual ones. */
  readonly ca?: readonly string[];
  /** Shown one after the other until the server does not refuse one: which of them it would take cannot be known before. */
  readonly identities?: readonly Identity[];
  readonly skipVerify?: boolean;
}

/**
 * Connections that share their TLS settings. Agents honour HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment, as
 * all Go clients do.
 */
export class Connections {
  readonly #tls: TlsSettings;
  /** Milliseconds until connected, TLS included. */
  readonly dialTimeout: number;
  readonly #http = diverting(new HttpAgent({ keepAlive: true, proxyEnv: process.env }));
  #https: SecureAgent | undefined;
  readonly #former: SecureAgent[] = [];
  #identity = 0;
  #isAccepted = false;

  constructor(tls: TlsSettings, dialTimeout: number) {
    this.#tls = tls;
    this.dialTimeout = dialTimeout;
  }

  /** Which of the client certificates is shown: a number for `accepted` and `refused`. */
  get identity(): number {
    return this.#identity;
  }

  /** With how many of them a request may be tried; one as soon as it is known which the server takes. */
  get identitiesToTry(): number {
    return this.#isAccepted ? 1 : (this.#tls.identities?.length ?? 1);
  }

  accepted(identity: number): void {
    if (identity === this.#identity) this.#isAccepted = true;
  }

  /** The next one is shown from now on, unless another request saw to that already. */
  refused(identity: number): void {
    if (identity !== this.#identity || this.#isAccepted) return;
    this.#identity = (identity + 1) % (this.#tls.identities?.length ?? 1);
    // Not destroyed yet: another request may still have its answer to come over it.
    if (this.#https) this.#former.push(this.#https);
    this.#https = undefined;
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
        secureContext: this.#secureContext(),
      }),
    );
    return this.#https;
  }

  close(): void {
    this.#http.destroy();
    for (const agent of [this.#https, ...this.#former]) agent?.destroy();
  }

  #secureContext(): SecureContext {
    const { ca = [], identities = [] } = this.#tls;
    return createSecureContext({ ca: [...trustedAuthorities(), ...ca], ...identities[this.#identity] });
  }
}
