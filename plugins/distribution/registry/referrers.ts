/**
 * Referrers: manifests that name another one as their subject (distribution
 * spec, "Listing Referrers"), from the API, or from the tag that stands in for
 * it at registries without.
 */
import type { IncomingMessage } from 'node:http';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { parseDigest } from '../../../lib/digest.js';
import { OCI_INDEX } from '../../../lib/oci/media-types.js';
import { parseReferrers } from '../../../lib/oci/referrers.js';
import { readWhole } from './body.js';
import type { HostAnswer, HostClient } from './host-client.js';

/** Pages of one list. */
const MAX_PAGES = 64;

export interface ReferrersQuery {
  readonly digest: string;
  readonly artifactType?: string;
  /** Bytes of one page. */
  readonly maxDocument: number;
  /** Milliseconds without progress. */
  readonly idleTimeout: number;
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** The tag under which registries without the API keep the list. */
export function referrersTag(digest: string): string {
  const { algorithm, hex } = parseDigest(digest);
  return `${algorithm.slice(0, 32)}-${hex.slice(0, 64)}`;
}

export async function fetchReferrers(host: HostClient, query: ReferrersQuery): Promise<readonly Descriptor[]> {
  const found = (await fetchPages(host, query)) ?? (await fetchTag(host, query));
  const { artifactType } = query;
  return artifactType === undefined ? found : found.filter((referrer) => referrer.artifactType === artifactType);
}

/** Undefined when the registry does not know the API. */
async function fetchPages(host: HostClient, query: ReferrersQuery): Promise<readonly Descriptor[] | undefined> {
  const { digest, artifactType, signal } = query;
  const found: Descriptor[] = [];
  let path: string | URL | undefined = `referrers/${digest}`;
  let filter = artifactType === undefined ? {} : { query: { artifactType } };
  for (let page = 0; path !== undefined && page < MAX_PAGES; page++) {
    const answer: HostAnswer = await host.request({ method: 'GET', path, accept: [OCI_INDEX], signal, ...filter });
    if (page === 0 && answer.status === 404) {
      await host.drop(answer);
      return undefined;
    }
    if (answer.status !== 200) throw await host.failure(query.doing, answer);
    found.push(...(await readIndex(answer, query)));
    path = nextPage(host, answer);
    filter = {};
  }
  return found;
}

/** The list under the tag; empty when there is none. */
export async function fetchTag(host: HostClient, query: ReferrersQuery): Promise<readonly Descriptor[]> {
  const path = `manifests/${referrersTag(query.digest)}`;
  const answer = await host.request({ method: 'GET', path, accept: [OCI_INDEX], signal: query.signal });
  if (answer.status === 404) {
    await host.drop(answer);
    return [];
  }
  if (answer.status !== 200) throw await host.failure(query.doing, answer);
  return readIndex(answer, query);
}

async function readIndex({ url, response }: HostAnswer, query: ReferrersQuery): Promise<readonly Descriptor[]> {
  const bytes = await readWhole(response, query.maxDocument, { url, timeout: query.idleTimeout });
  return parseReferrers({ mediaType: OCI_INDEX, digest: query.digest }, bytes);
}

/** `Link: </v2/...>; rel="next"`, of the same origin only: elsewhere nobody could answer for the list. */
function nextPage(host: HostClient, answer: HostAnswer): URL | undefined {
  const target = linkOf(answer.response);
  if (target === undefined) return undefined;
  const next = host.location(answer, target);
  return next.origin === answer.url.origin ? next : undefined;
}

const linkOf = ({ headers }: IncomingMessage): string | undefined =>
  /^\s*<([^<>]{1,4000})>\s*;\s*rel="?next"?/.exec([headers.link].flat()[0] ?? '')?.[1];
