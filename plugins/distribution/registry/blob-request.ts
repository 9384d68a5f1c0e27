/** One request for a blob or a part of it, whose answer is exactly what was asked for. */
import type { IncomingMessage } from 'node:http';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { LATER, RegistryFailure } from './failure.js';
import type { HostAnswer, HostClient } from './host-client.js';

export interface BlobPart {
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
  /** Whether nothing but these bytes will do; otherwise the whole blob does, too, and `end` is its end. */
  readonly isRange: boolean;
}

/** Where bytes go, in order. */
export interface PartTarget {
  /** Told when a server begins to send, on each try. */
  answered?(): void;
  /** Told up to which byte of the blob all has arrived, packet by packet; with ranges, how many bytes have. */
  received?(bytes: number): void;
  /** A buffer for the next bytes, asked for when the one before was handed to `take`. */
  allocate(remaining: number): Uint8Array;
  take(chunk: Uint8Array): Promise<void>;
}

export interface BlobRequest {
  readonly descriptor: Descriptor;
  readonly part: BlobPart;
  /** For messages. */
  readonly doing: string;
  readonly signal: AbortSignal;
}

/**
 * A server that answers a request for a range with something else, as it may (RFC 9110, 14.2). No failure of the
 * registry: the next host need not be asked, and the blob can be had in one request.
 */
export class RangeIgnored extends Error {}

/** What servers answer that know nothing of ranges, or not of this one. */
const WITHOUT_RANGES = [200, 416];

export const lengthOf = ({ headers }: IncomingMessage): number | undefined => {
  const text = headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
};

const rangeHeader = ({ start, end, isRange }: BlobPart): string | undefined => {
  if (isRange) return `bytes=${start}-${end - 1}`;
  return start === 0 ? undefined : `bytes=${start}-`;
};

/** The body that follows is the part (206) or the whole blob (200). Throws {@link RangeIgnored} as well. */
export async function openBlob(
  host: HostClient,
  { descriptor, part, doing, signal }: BlobRequest,
): Promise<HostAnswer> {
  const range = rangeHeader(part);
  const path = `blobs/${descriptor.digest}`;
  const answer = await host.request({ method: 'GET', path, signal, ...(range === undefined ? {} : { range }) });
  if (part.isRange && WITHOUT_RANGES.includes(answer.status)) {
    answer.response.destroy();
    throw new RangeIgnored(`${doing}: the registry serves no ranges`);
  }
  if (answer.status !== 200 && !(answer.status === 206 && range !== undefined)) throw await host.failure(doing, answer);
  checkExtent(doing, descriptor, part, answer);
  return answer;
}

/** The bytes a server announces must be those that were asked for. */
function checkExtent(doing: string, { size }: Descriptor, part: BlobPart, { response, status }: HostAnswer): void {
  const { start, end } = status === 206 ? part : { start: 0, end: size };
  const length = lengthOf(response);
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '');
  const rangeFits =
    Number(range?.[1]) === start &&
    Number(range?.[2]) === end - 1 &&
    (range?.[3] === '*' || Number(range?.[3]) === size);
  if ((status === 200 || rangeFits) && (length === undefined || length === end - start)) return;
  response.destroy();
  throw new RegistryFailure(
    'FAILED_PRECONDITION',
    `${doing}: the registry offers other bytes than the ${end - start} from ${start} on`,
  );
}

export function endedEarly({ digest, size }: Descriptor, offset: number): RegistryFailure {
  const message = `blob "${digest}" ended after ${offset} of ${size} bytes`;
  return new RegistryFailure('FAILED_PRECONDITION', message, { retry: LATER });
}
