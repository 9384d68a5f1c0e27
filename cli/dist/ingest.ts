/** Standard input becomes content. */
import type { Client } from '../../client/index.js';
import { hasCode, invalidArgument, outOfRange, unavailable } from '../../kernel/errors.js';
import { isDigest } from '../../lib/digest.js';

export interface Expectation {
  readonly digest: string;
  /** Bytes; 0 when unknown. */
  readonly size: bigint;
}

/** INVALID_ARGUMENT for a digest or a size that is none. */
export function parseExpectation(digest = '', size = '0'): Expectation {
  if (digest !== '' && !isDigest(digest)) throw invalidArgument(`--expected-digest "${digest}" is not a digest`);
  if (!/^\d{1,15}$/.test(size)) throw invalidArgument(`--expected-size "${size}" is not a number of bytes`);
  return { digest, size: BigInt(size) };
}

const WRITE = { STAT: 0, WRITE: 1, COMMIT: 2 } as const;

type Requests = Parameters<Client['content']['write']>[0];
type Request = Requests extends AsyncIterable<infer T> ? T : never;

/**
 * Writes to the ingest `ref` and commits it; resolves to the digest. Bytes
 * that an earlier try has written are skipped on the input.
 */
export async function ingest(
  client: Client,
  ref: string,
  { digest: expected, size: total }: Expectation,
  input: AsyncIterable<string | Uint8Array>,
): Promise<string> {
  const offset = Promise.withResolvers<bigint>();
  async function* requests(): AsyncIterable<Request> {
    yield { action: WRITE.STAT, ref, total, expected };
    let at = 0n;
    let skip = await offset.promise;
    for await (const chunk of input) {
      const bytes = Buffer.from(chunk);
      const known = skip < BigInt(bytes.length) ? Number(skip) : bytes.length;
      skip -= BigInt(known);
      at += BigInt(known);
      const data = bytes.subarray(known);
      if (data.length > 0) yield { action: WRITE.WRITE, ref, total, expected, offset: at, data };
      at += BigInt(data.length);
    }
    if (skip > 0n)
      throw outOfRange(`ingest "${ref}" holds more bytes than standard input`, { remedy: 'abort it first' });
    yield { action: WRITE.COMMIT, ref, total, expected, offset: at };
  }
  try {
    for await (const answer of client.content.write(requests())) {
      if (answer.action === WRITE.STAT) offset.resolve(answer.offset);
      if (answer.action === WRITE.COMMIT) return answer.digest;
    }
  } catch (error) {
    if (expected !== '' && hasCode(error, 'ALREADY_EXISTS')) return expected;
    throw error;
  }
  throw unavailable(`the daemon ended the ingest "${ref}" before it was committed`);
}
