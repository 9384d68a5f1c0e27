/**
 * Proves to one registry host who we are: basic authentication, or tokens of
 * the token server the host names (distribution spec, token authentication).
 * Credentials belong to the host of the registry; where its token server
 * stands never chooses them.
 */
import type { Credentials } from '../../../kernel/contracts/distribution.js';
import { invalidArgument } from '../../../kernel/errors.js';
import { type Challenge, parseChallenges } from './challenge.js';
import { RegistryFailure, showUrl } from './failure.js';
import type { Redactor } from './redactor.js';
import { mergeScopes } from './scopes.js';
import type { TokenServer } from './token-server.js';

export interface AuthorizerOptions {
  /** The registry host, for the credentials callback and for messages. */
  readonly host: string;
  readonly base: URL;
  /** Asked at most once. */
  readonly credentials: (challenges: readonly string[]) => Promise<Credentials | undefined>;
  readonly tokens: TokenServer;
  readonly redactor: Redactor;
}

interface BearerTerms {
  readonly realm: URL;
  readonly service: string;
  /** What the host asked for and what is needed, one for each resource, sorted. */
  readonly scopes: readonly string[];
}

interface HeldToken {
  readonly header: string;
  /** `performance.now()` milliseconds after which it is not used any more. */
  readonly expiresAt: number;
}

/** Milliseconds before the end of a token's life at which it counts as expired. */
const MARGIN = 10_000;

export class Authorizer {
  readonly #options: AuthorizerOptions;
  #credentials: Promise<Credentials | undefined> | undefined;
  #fixedHeader: string | undefined;
  #terms: BearerTerms | undefined;
  #token: Promise<HeldToken> | undefined;
  /** Of the token that was fetched last; undefined while one is on its way. */
  #tokenHeader: string | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** The Authorization header to send; undefined as long as the host has asked for none. */
  async header(): Promise<string | undefined> {
    if (this.#fixedHeader !== undefined) return this.#fixedHeader;
    if (!this.#terms) return undefined;
    const held = await this.#heldToken(this.#terms);
    if (performance.now() < held.expiresAt) return held.header;
    this.#token = undefined;
    return (await this.#heldToken(this.#terms)).header;
  }

  /**
   * Takes the challenge of a 401. `sent` is the header that was refused.
   * Throws UNAUTHENTICATED when there is nothing better to send.
   */
  async challenged(lines: readonly string[], sent: string | undefined, scopes: readonly string[]): Promise<void> {
    const challenges = parseChallenges(lines);
    const credentials = await this.#askCredentials(lines);
    if (credentials?.kind === 'header') return this.#useFixed(credentials.value, sent);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer) return this.#useBearer(bearer, sent, scopes);
    if (!challenges.some(({ scheme }) => scheme === 'basic')) {
      throw this.#refused('it asks for no kind of authentication that is known here');
    }
    if (credentials?.kind !== 'password') throw this.#refused('it wants a user name and a password');
    const basic = Buffer.from(`${credentials.username}:${credentials.secret}`).toString('base64');
    this.#options.redactor.add(basic);
    this.#useFixed(`Basic ${basic}`, sent);
  }

  #useFixed(header: string, sent: string | undefined): void {
    if (!/^[\x20-\x7e]+$/.test(header))
      throw invalidArgument(`the credentials for registry "${this.#options.host}" cannot be put in a header`);
    if (header === sent) throw this.#refused('it refused the credentials');
    this.#fixedHeader = header;
  }

  /** A repeated challenge throws the token away: it expired, was revoked, or does not reach far enough. */
  #useBearer(bearer: Challenge, sent: string | undefined, scopes: readonly string[]): void {
    // Another request met the same challenge: its new token, or the one on its way, has not been refused yet.
    if (this.#token && sent !== this.#tokenHeader) return;
    const wanted = (bearer.parameters.get('scope') ?? '').split(' ').filter((part) => part !== '');
    this.#terms = {
      realm: this.#realm(bearer.parameters.get('realm') ?? ''),
      service: bearer.parameters.get('service') ?? '',
      scopes: mergeScopes([...wanted, ...scopes]),
    };
    this.#token = undefined;
    this.#tokenHeader = undefined;
  }

  #realm(text: string): URL {
    if (!URL.canParse(text)) throw this.#refused('the address of its token server cannot be read');
    const realm = new URL(text);
    realm.username = '';
    realm.password = '';
    const refused = this.#options.tokens.refusal(this.#options.base, realm);
    if (refused !== undefined) throw this.#refused(`its token server ${showUrl(realm)} is not asked: ${refused}`);
    return realm;
  }

  #heldToken(terms: BearerTerms): Promise<HeldToken> {
    this.#token ??= this.#fetchToken(terms).catch((error: unknown) => {
      this.#token = undefined;
      throw error;
    });
    return this.#token;
  }

  async #fetchToken(terms: BearerTerms): Promise<HeldToken> {
    const asked = performance.now();
    this.#tokenHeader = undefined;
    const credentials = await this.#credentials;
    const { token, lifetime } = await this.#options.tokens.fetch({ ...terms, credentials, host: this.#options.host });
    this.#tokenHeader = `Bearer ${token}`;
    return { header: this.#tokenHeader, expiresAt: asked + Math.max(lifetime - MARGIN, lifetime / 2) };
  }

  #askCredentials(lines: readonly string[]): Promise<Credentials | undefined> {
    this.#credentials ??= this.#options.credentials(lines).then((credentials) => {
      this.#remember(credentials);
      return credentials;
    });
    return this.#credentials;
  }

  #remember(credentials: Credentials | undefined): void {
    const { redactor } = this.#options;
    if (credentials?.kind === 'password') redactor.add(credentials.secret);
    if (credentials?.kind === 'refresh-token') redactor.add(credentials.token);
    if (credentials?.kind === 'header') redactor.add(credentials.value, ...credentials.value.split(' ').slice(1));
  }

  #refused(why: string): RegistryFailure {
    return new RegistryFailure('UNAUTHENTICATED', `registry "${this.#options.host}" cannot be logged in to: ${why}`);
  }
}
