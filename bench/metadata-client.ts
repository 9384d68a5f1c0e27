/** Creates images, so many at a time, and prints how fast that went: `metadata-client.js SOCKET NAMESPACE CLIENTS COUNT`. */
import { CreateImageRequest } from '../api/gen/services/images.js';
import { digestOf } from '../lib/digest.js';
import { framed, inParallel, Wire } from './wire.js';

export interface PutFigures {
  /** Durable creations per second. */
  readonly rate: number;
  /** Milliseconds each. */
  readonly p50: number;
  readonly p99: number;
}

function creation(index: number): Buffer {
  const digest = digestOf(Buffer.from(`target ${index}`));
  const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1234n };
  const image = { name: `registry.example/team/image-${index}:v1`, target, labels: { owner: `team-${index % 7}` } };
  return framed(CreateImageRequest.encode(CreateImageRequest.fromPartial({ image })).finish());
}

async function measure(socket: string, namespace: string, clients: number, count: number): Promise<PutFigures> {
  using wire = new Wire(socket, { 'containerd-namespace': namespace });
  const frames = Array.from({ length: count }, (_, index) => creation(index));
  const times: number[] = [];
  const start = performance.now();
  await inParallel(clients, count, async (index) => {
    const began = performance.now();
    await wire.call('/containerd.services.images.v1.Images/Create', frames[index] ?? Buffer.alloc(0));
    times.push(performance.now() - began);
  });
  const elapsed = performance.now() - start;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor((count - 1) * share)] ?? Number.NaN;
  return { rate: (count / elapsed) * 1000, p50: at(0.5), p99: at(0.99) };
}

const [, program = '', socket = '', namespace = '', clients = '', count = ''] = process.argv;
if (program === import.meta.filename) {
  process.stdout.write(JSON.stringify(await measure(socket, namespace, Number(clients), Number(count))));
}
