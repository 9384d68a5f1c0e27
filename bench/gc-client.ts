/**
 * Asks for a collection and looks how long others have to wait meanwhile: `gc-client.js SOCKET IMAGE`, or
 * `gc-client.js SOCKET IMAGE MILLISECONDS` for the same without a collection. IMAGE is one to be read.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { GetImageRequest } from '../api/gen/services/images.js';
import { CreateRequest, DeleteRequest } from '../api/gen/services/leases.js';
import { framed, Wire } from './wire.js';

export interface CollectionFigures {
  /** Milliseconds of the collection, all of it: mark, sweep, and the disk. */
  readonly duration: number;
  /** Milliseconds that a durable write took at most, and in the middle. */
  readonly longestWrite: number;
  readonly medianWrite: number;
  readonly writes: number;
  /** Milliseconds that a read took at most. */
  readonly longestRead: number;
}

/** Milliseconds between two probes. */
const BETWEEN = 2;

const LEASES = '/containerd.services.leases.v1.Leases';

const creation = (id: string): Buffer => framed(CreateRequest.encode({ id, labels: {} }).finish());

/** What each call takes, one after another, until `over`. */
async function probe(over: AbortSignal, call: (index: number) => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  while (!over.aborted) {
    const start = performance.now();
    await call(times.length);
    times.push(performance.now() - start);
    await pause(BETWEEN);
  }
  return times.sort((a, b) => a - b);
}

async function measure(socket: string, name: string, work: (wire: Wire) => Promise<void>): Promise<CollectionFigures> {
  const metadata = { 'containerd-namespace': 'bench' };
  using asking = new Wire(socket, metadata);
  using writing = new Wire(socket, metadata);
  using reading = new Wire(socket, metadata);
  const over = new AbortController();
  const image = framed(GetImageRequest.encode({ name }).finish());
  const mark = `probe-${Date.now()}`;
  const writes = probe(over.signal, (index) => writing.call(`${LEASES}/Create`, creation(`${mark}-${index}`)));
  const reads = probe(over.signal, () => reading.call('/containerd.services.images.v1.Images/Get', image));
  await pause(200);
  const start = performance.now();
  await work(asking);
  const duration = performance.now() - start;
  over.abort();
  const written = await writes;
  return {
    duration,
    longestWrite: written.at(-1) ?? Number.NaN,
    medianWrite: written[written.length >> 1] ?? Number.NaN,
    writes: written.length,
    longestRead: (await reads).at(-1) ?? Number.NaN,
  };
}

async function collect(wire: Wire): Promise<void> {
  const id = `collect-${Date.now()}`;
  await wire.call(`${LEASES}/Create`, creation(id));
  await wire.call(`${LEASES}/Delete`, framed(DeleteRequest.encode({ id, sync: true }).finish()));
}

const [, program = '', socket = '', image = '', milliseconds] = process.argv;
if (program === import.meta.filename) {
  const work = milliseconds === undefined ? collect : () => pause(Number(milliseconds));
  process.stdout.write(JSON.stringify(await measure(socket, image, work)));
}
