/**
 * A five-layer image of about 300 MB compressed and 1 GB unpacked, made of
 * seeded pseudo-random text: the same bytes on every machine. File sizes
 * follow those of real images: half below 2 KB, one in ten above 30 KB, a few
 * of tens of megabytes.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

const LAYERS = 5;
const FILES_PER_LAYER = 6_600;
const BIG_FILES_PER_LAYER = 2;
const BIG_FILE_BYTES = 48 * 2 ** 20;
const SEED = 20170401;

/** mulberry32: 32 bits of state, good enough to vary text. */
function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that gzip shrinks to about a third: words of a dictionary of random letters and digits. */
function textSource(random: () => number): (bytes: number) => Buffer {
  const words = Array.from({ length: 2048 }, () =>
    Buffer.from(`${Math.floor(random() * 2 ** 32).toString(36)}${Math.floor(random() * 2 ** 20).toString(36)} `),
  );
  return (bytes) => {
    const target = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; ) {
      const word = words[Math.floor(random() * words.length)] ?? Buffer.from(' ');
      at += word.copy(target, at);
    }
    return target;
  };
}

function fileSize(random: () => number): number {
  const dice = random();
  if (dice < 0.5) return Math.floor(random() * 2_000);
  if (dice < 0.9) return Math.floor(2_000 + random() * 28_000);
  return Math.floor(30_000 + random() * 120_000);
}

interface Layer {
  readonly digest: string;
  readonly diffId: string;
  readonly size: number;
}

async function writeLayer(blobs: string, index: number): Promise<Layer> {
  const random = randomSource(SEED + index);
  const text = textSource(random);
  const tar = pack();
  const entries = async (): Promise<void> => {
    for (let file = 0; file < FILES_PER_LAYER; file += 1) {
      const name = `srv/layer${index}/d${Math.floor(file / 40)}/f${file}`;
      if (file % 40 === 0) tar.entry({ name: name.replace(/\/f\d+$/, ''), type: 'directory', mode: 0o755 });
      await entry(name, fileSize(random));
    }
    for (let file = 0; file < BIG_FILES_PER_LAYER; file += 1)
      await entry(`srv/layer${index}/big${file}`, BIG_FILE_BYTES);
    tar.finalize();
  };
  const entry = (name: string, size: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const mtime = new Date(1_500_000_000_000);
      tar.entry({ name, mode: 0o644, mtime }, text(size), (error) => (error ? reject(error) : resolve()));
    });
  const diffId = createHash('sha256');
  const digest = createHash('sha256');
  const hashing = (hash: ReturnType<typeof createHash>): Transform =>
    new Transform({
      transform(chunk, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
  const temporary = join(blobs, `layer${index}`);
  const written = pipeline(
    tar,
    hashing(diffId),
    createGzip({ level: 6 }),
    hashing(digest),
    createWriteStream(temporary),
  );
  await Promise.all([entries(), written]);
  const hex = digest.digest('hex');
  await rename(temporary, join(blobs, hex));
  const { size } = await stat(join(blobs, hex));
  return { digest: `sha256:${hex}`, diffId: `sha256:${diffId.digest('hex')}`, size };
}

async function writeJson(blobs: string, value: unknown): Promise<{ digest: string; size: number }> {
  const bytes = Buffer.from(JSON.stringify(value));
  const hex = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hex), bytes);
  return { digest: `sha256:${hex}`, size: bytes.length };
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Builds the image, or one of its first layers, as an OCI layout below `cache`, once; resolves to the layout's path. */
export async function benchImage(cache: string, count = LAYERS): Promise<string> {
  const layout = join(cache, `bench-image-${SEED}-${count}x${FILES_PER_LAYER}`);
  if (await exists(join(layout, 'index.json'))) return layout;
  await rm(layout, { recursive: true, force: true });
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const layers = await Promise.all(Array.from({ length: count }, (_, index) => writeLayer(blobs, index)));
  const config = await writeJson(blobs, {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/true'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  });
  const manifest = await writeJson(blobs, {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest,
      size,
    })),
  });
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest }],
  };
  await writeFile(join(layout, 'index.json'), JSON.stringify(index));
  return layout;
}

/** Layer blobs of a layout, biggest first. */
export async function layerBlobs(layout: string): Promise<readonly string[]> {
  const read = async (path: string): Promise<string> => {
    const chunks: Buffer[] = [];
    for await (const chunk of createReadStream(path)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const hex = (digest: string): string => digest.replace('sha256:', '');
  const blob = (digest: string): string => join(layout, 'blobs', 'sha256', hex(digest));
  const digests = (text: string): string[] =>
    [...text.matchAll(/"digest":"(sha256:[0-9a-f]{64})"/g)].map((m) => m[1] ?? '');
  const [manifest = ''] = digests(await read(join(layout, 'index.json')));
  const [, ...layers] = digests(await read(blob(manifest)));
  return layers.map(blob);
}
