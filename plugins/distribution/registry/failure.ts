/** What can go wrong between us and a registry, in the taxonomy, and whether another try makes sense. */
import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, type ErrorDetails, KeelsonError } from '../../../kernel/errors.js';

export type Retry =
  | { readonly kind: 'never' }
  /** `after`: milliseconds the server asked to wait. */
  | { readonly kind: 'later'; readonly after?: number };

export const NEVER: Retry = { kind: 'never' };
export const LATER: Retry = { kind: 'later' };

export class RegistryFailure extends KeelsonError {
  readonly retry: Retry;
  /** HTTP status, when it was an answer that failed. */
  readonly status: number | undefined;
  /** The server may have ended the connection for the client certificate that it was shown. */
  readonly mayBeCertificate: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails & {
      readonly retry?: Retry;
      readonly status?: number;
      readonly mayBeCertificate?: boolean;
    } = {},
  ) {
    super(code, message, details);
    this.retry = details.retry ?? NEVER;
    this.status = details.status;
    this.mayBeCertificate = details.mayBeCertificate ?? false;
  }
}

/** A URL for people: no user information, no query (tokens travel there), bounded. */
export function showUrl(url: URL): string {
  const text = `${url.protocol}//${url.host}${url.pathname}`;
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}

const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH|EPROTO)/;

/** How a server ends a connection of a client whose certificate it does not like: an alert, or in silence. */
const CERTIFICATE_REFUSED = /^(ERR_SSL_.*ALERT|ECONNRESET|EPIPE|EPROTO)/;

/** The lower-level code of a network error; an AggregateError (several addresses tried) has it on its first. */
function networkCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return networkCode(error.errors[0]);
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown error';
}

/** A connection that failed before or while an answer arrived. */
export function transportFailure(url: URL, error: unknown): RegistryFailure {
  if (error instanceof RegistryFailure) return error;
  const code = networkCode(error);
  const where = `"${url.host}"`;
  const mayBeCertificate = CERTIFICATE_REFUSED.test(code);
  if (code === 'ABORT_ERR') return new RegistryFailure('CANCELED', `the request to registry ${where} was cancelled`);
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new RegistryFailure('RESOURCE_EXHAUSTED', `registry ${where} sent more header bytes than are taken`);
  }
  if (code.startsWith('HPE_'))
    return new RegistryFailure('UNAVAILABLE', `registry ${where} does not speak HTTP (${code})`);
  if (TLS_CODE.test(code)) {
    const remedy =
      code === 'EPROTO' || code.startsWith('ERR_SSL')
        ? { remedy: 'a registry without TLS needs plain http to be asked for' }
        : {};
    return new RegistryFailure('UNAVAILABLE', `no trusted TLS connection to registry ${where} (${code})`, {
      ...remedy,
      mayBeCertificate,
    });
  }
  if (code === 'ENOTFOUND') {
    return new RegistryFailure('UNAVAILABLE', `the name of registry ${where} cannot be resolved (${code})`);
  }
  return new RegistryFailure('UNAVAILABLE', `connection to registry ${where} failed (${code})`, {
    retry: LATER,
    mayBeCertificate,
  });
}

const CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  408: 'UNAVAILABLE',
  416: 'OUT_OF_RANGE',
  429: 'RESOURCE_EXHAUSTED',
};

const RETRIED = [408, 429, 500, 502, 503, 504];

/** Milliseconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date); undefined without a usable one. */
export function retryAfter(headers: IncomingHttpHeaders, now: number): number | undefined {
  const text = headers['retry-after'];
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

export interface FailedAnswer {
  readonly url: URL;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** What the server said about it, already redacted; may be empty. */
  readonly explanation: string;
  /** Default: by status. */
  readonly code?: ErrorCode;
}

/** An answer whose status is not the one that was hoped for. */
export function statusFailure(doing: string, answer: FailedAnswer): RegistryFailure {
  const { url, status, headers, explanation } = answer;
  const code = answer.code ?? CODES[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'FAILED_PRECONDITION');
  const said = explanation === '' ? '' : `: ${explanation}`;
  const after = retryAfter(headers, Date.now());
  const retry = RETRIED.includes(status)
    ? { kind: 'later' as const, ...(after === undefined ? {} : { after }) }
    : NEVER;
  return new RegistryFailure(code, `${doing}: ${showUrl(url)} answered ${status}${said}`, { retry, status });
}

/** What an error's body says: the message of a registry's document (distribution spec, error codes), else its text unless that is a web page. */
export function messageOf(text: string): string {
  const found = /"(?:message|details)"\s*:\s*"((?:[^"\\]|\\.){1,500})"/.exec(text);
  return found?.[1] ?? (text.trimStart().startsWith('<') ? '' : text);
}
