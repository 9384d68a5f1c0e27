/** A gigabyte into content and out again through gRPC, by Debian's `ctr`, alternating between the daemons. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../test/harness/command.js';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import { KINDS } from './execution.js';
import { coldCaches } from './loop-disk.js';
import { processorSeconds } from './processor.js';
import { type Comparison, milliseconds } from './statistics.js';

const GIGABYTE = 2 ** 30;
const PIECE = 2 ** 20;

interface Blob {
  readonly path: string;
  readonly digest: string;
}

/** Bytes that no filesystem shrinks; each piece starts with its number. */
async function makeBlob(directory: string): Promise<Blob> {
  const path = join(directory, 'gigabyte');
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  const piece = Buffer.alloc(PIECE);
  for (let at = 0; at < PIECE; at += 32) createHash('sha256').update(`${at}`).digest().copy(piece, at);
  for (let index = 0; index < GIGABYTE / PIECE; index += 1) {
    piece.writeUInt32LE(index);
    hash.update(piece);
    await file.write(piece);
  }
  await file.close();
  return { path, digest: `sha256:${hash.digest('hex')}` };
}

interface Sample {
  readonly seconds: number;
  readonly processor: number;
}

async function timed(daemon: Daemon, args: readonly string[], input?: string): Promise<Sample> {
  const spent = (): number => processorSeconds(daemon.pid) + processorSeconds('self');
  const before = spent();
  const flags = ['--address', daemon.address, '--namespace', 'bench', 'content', ...args];
  const taken = await milliseconds(async () => {
    // Into a file that holds nothing: what this process would do with a gigabyte is not to be measured.
    const script = 'exec /usr/bin/ctr "$@" > /dev/null';
    const options = { timeout: 600_000, ...(input === undefined ? {} : { inputFile: input }) };
    const { code, stderr } = await run('sh', ['-c', script, 'sh', ...flags], options);
    if (code !== 0) throw new Error(`ctr ${flags.join(' ')} on ${daemon.kind}: ${stderr}`);
  });
  return { seconds: taken / 1000, processor: spent() - before };
}

export async function benchContent(directory: string, rounds: number): Promise<Comparison[]> {
  const blob = await makeBlob(directory);
  for await (const _ of createReadStream(blob.path)); // as warm for the first as for the others
  const empty = (): Record<DaemonKind, Sample[]> => ({ keelsond: [], containerd: [] });
  const [ingests, gets] = [empty(), empty()];
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of KINDS) {
      await using daemon = await Daemon.start({ kind });
      const ingest = ['ingest', '--expected-size', `${GIGABYTE}`, '--expected-digest', blob.digest, 'bench'];
      ingests[kind].push(await timed(daemon, ingest, blob.path));
      gets[kind].push(await timed(daemon, ['get', blob.digest]));
    }
    await coldCaches();
  }
  await rm(blob.path);
  const row = (what: string, of: Record<DaemonKind, Sample[]>, field: keyof Sample): Comparison => ({
    what,
    unit: 's',
    ours: of.keelsond.map((sample) => sample[field]),
    peer: of.containerd.map((sample) => sample[field]),
  });
  const clock = ', processor time with the client';
  return [
    row('`ctr content ingest` of 1 GB', ingests, 'seconds'),
    row(`\`ctr content ingest\` of 1 GB${clock}`, ingests, 'processor'),
    row('`ctr content get` of 1 GB', gets, 'seconds'),
    row(`\`ctr content get\` of 1 GB${clock}`, gets, 'processor'),
  ];
}
