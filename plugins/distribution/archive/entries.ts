/** Reads a tar archive, compressed or not, as it arrives. */
import { invalidArgument } from '../../../kernel/errors.js';
import { Detector } from '../../../lib/inflate/decompressor.js';
import type { TarEntry } from '../../../lib/tar/entry.js';
import { TarWalker } from '../../../lib/tar/walker.js';

export type ArchiveEvent =
  | { readonly kind: 'entry'; readonly entry: TarEntry }
  /** Bytes of the file that the last entry was, in order. */
  | { readonly kind: 'data'; readonly chunk: Buffer }
  | { readonly kind: 'end' };

/** Compressed bytes that are taken at once: what they become is held in memory. */
const STEP = 16 * 1024;
/** Entries of one archive; an image has some hundred. */
const MAX_ENTRIES = 100_000;

/** What the archive holds, in order. INVALID_ARGUMENT for a broken one. */
export async function* readArchive(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveEvent> {
  let events: ArchiveEvent[] = [];
  let entries = 0;
  const walker = new TarWalker({
    entry(entry) {
      if (entries++ === MAX_ENTRIES) throw invalidArgument(`the archive has more than ${MAX_ENTRIES} entries`);
      if (entry.regions) throw invalidArgument('the archive holds a sparse file, which an image archive does not');
      events.push({ kind: 'entry', entry });
    },
    data(chunk, start, end) {
      events.push({ kind: 'data', chunk: Buffer.from(chunk.subarray(start, end)) });
    },
    end() {
      events.push({ kind: 'end' });
    },
  });
  const taken = (): readonly ArchiveEvent[] => {
    const before = events;
    events = [];
    return before;
  };
  const inflater = new Detector((chunk) => walker.push(chunk));
  try {
    for await (const chunk of bytes) {
      const input = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      for (let at = 0; at < input.length; at += STEP) {
        await inflater.push(input.subarray(at, at + STEP));
        yield* taken();
      }
    }
    await inflater.finish();
    walker.finish();
    yield* taken();
  } finally {
    inflater.close();
  }
}
