/**
 * Image references. {@link parseReference} takes full ones only, as containerd
 * does on the wire; {@link completeReference} first completes what people type
 * (`redis` is `docker.io/library/redis:latest`), as command lines do.
 */
import { invalidArgument } from '../../kernel/errors.js';
import { isDigest } from '../digest.js';
import { isHost, isRepository, isTag } from './grammar.js';

export interface Reference {
  /** Host with its port, lower case kept as written: `docker.io`, `127.0.0.1:5000`. */
  readonly host: string;
  /** `library/redis`. */
  readonly repository: string;
  readonly tag?: string;
  /** Wins over the tag when both are there. */
  readonly digest?: string;
}

/** Host and repository together, in characters; more is refused by registries. */
const MAX_NAME_LENGTH = 255;
/** Longer than any legal reference: name, tag, digest and their separators. */
const MAX_LENGTH = 600;

const DEFAULT_HOST = 'docker.io';
/** Another name of Docker Hub, never stored. */
const LEGACY_DEFAULT_HOST = 'index.docker.io';

/** The text for an error message: bounded, and nothing in it that a terminal obeys. */
const shown = (text: string): string => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);

const invalid = (text: string, why: string) => invalidArgument(`image reference ${shown(text)} is malformed: ${why}`);

interface Split {
  readonly name: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** Cuts digest and tag off the end; what they hold is not checked yet. */
function split(text: string): Split {
  const at = text.indexOf('@');
  const digest = at < 0 ? {} : { digest: text.slice(at + 1) };
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  return colon < 0 ? { name: rest, ...digest } : { name: rest.slice(0, colon), tag: rest.slice(colon + 1), ...digest };
}

function checked(text: string, host: string, repository: string, { tag, digest }: Split): Reference {
  // `a.127.0.0.1` is a name by the grammar, but an address that no URL can hold.
  if (!isHost(host) || !URL.canParse(`https://${host}`)) throw invalid(text, `${shown(host)} is not a registry host`);
  if (!isRepository(repository)) {
    throw invalid(text, `${shown(repository)} is not a repository (lower-case letters, digits and separators)`);
  }
  if (host.length + 1 + repository.length > MAX_NAME_LENGTH) {
    throw invalid(text, `host and repository are longer than ${MAX_NAME_LENGTH} characters`);
  }
  if (tag !== undefined && !isTag(tag)) throw invalid(text, `${shown(tag)} is not a tag`);
  if (digest !== undefined && !isDigest(digest)) throw invalid(text, `${shown(digest)} is not a digest`);
  return { host, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

function checkLength(text: string): void {
  if (text.length > MAX_LENGTH) throw invalid(text, `it is longer than ${MAX_LENGTH} characters`);
}

/** A full reference, host included. INVALID_ARGUMENT when malformed. */
export function parseReference(text: string): Reference {
  checkLength(text);
  const parts = split(text);
  const slash = parts.name.indexOf('/');
  if (slash < 0) throw invalid(text, 'it names no registry host, as in docker.io/library/redis:alpine');
  return checked(text, parts.name.slice(0, slash), parts.name.slice(slash + 1), parts);
}

/** What comes before the first slash is a host only when it looks like one; else it belongs to a repository on Docker Hub. */
const looksLikeHost = (text: string): boolean =>
  text.includes('.') || text.includes(':') || text === 'localhost' || text !== text.toLowerCase();

/**
 * Completes a reference as people type it: host `docker.io`, its `library/`,
 * and the tag `latest`, each only where missing. INVALID_ARGUMENT when malformed.
 */
export function completeReference(text: string): Reference {
  checkLength(text);
  const parts = split(text);
  const slash = parts.name.indexOf('/');
  const first = parts.name.slice(0, Math.max(slash, 0));
  const named = slash >= 0 && looksLikeHost(first);
  const host = !named || first === LEGACY_DEFAULT_HOST ? DEFAULT_HOST : first;
  const path = named ? parts.name.slice(slash + 1) : parts.name;
  const repository = host === DEFAULT_HOST && !path.includes('/') ? `library/${path}` : path;
  const object = parts.tag === undefined && parts.digest === undefined ? { ...parts, tag: 'latest' } : parts;
  return checked(text, host, repository, object);
}

/** The canonical text of a reference. */
export function formatReference({ host, repository, tag, digest }: Reference): string {
  return `${host}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** What to ask a registry for: the digest when there is one, else the tag. INVALID_ARGUMENT without either. */
export function objectOf(reference: Reference): string {
  const object = reference.digest ?? reference.tag;
  if (object === undefined) {
    throw invalid(formatReference(reference), 'it has neither a tag nor a digest; add one, for example :latest');
  }
  return object;
}
