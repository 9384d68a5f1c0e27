import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pino } from 'pino';
import type { ImportName, ImportOptions } from '../../../kernel/contracts/archives.js';
import { chainIds } from '../../../lib/oci/chain-id.js';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../../lib/oci/media-types.js';
import { hostPlatform } from '../../../lib/oci/platform.js';
import { END_OF_ARCHIVE, entryHeader, type NewEntry, padding } from '../../../lib/tar/writer.js';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../../../test/harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../../../test/harness/memory-snapshots.js';
import { IMPATIENT } from '../../../test/hostile/sessions.js';
import { RegistryDistribution } from '../distribution.js';

const scope = { namespace: 'default' };
const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function world() {
  const leases = new MemoryLeases();
  const content = new MemoryContent(leases);
  const snapshots = new MemorySnapshots(leases, ['rebase']);
  const images = new MemoryImages();
  const services = { content, leases, snapshots, images, diff: new MemoryDiff(snapshots) };
  const settings = {
    downloads: 3,
    downloadChunk: 0,
    hostsDirectories: [],
    userAgent: 'test',
    uploadChunk: 0,
    limits: IMPATIENT,
  };
  const all = { ...services, namespaces: memoryNamespaces() };
  return { ...services, archives: new RegistryDistribution(all, settings, pino({ level: 'silent' })).archives };
}

type World = ReturnType<typeof world>;

interface File extends Partial<Omit<NewEntry, 'size'>> {
  readonly name: string;
  readonly data?: Buffer | string;
}

function tar(files: readonly File[], end = END_OF_ARCHIVE): Buffer {
  const parts = files.flatMap(({ data = '', ...entry }) => {
    const bytes = Buffer.from(data);
    const fields = { type: 'file' as const, mode: 0o644, uid: 0, gid: 0, mtime: { seconds: 0, nanos: 0 } };
    return [entryHeader({ ...fields, ...entry, size: bytes.length }), bytes, padding(bytes.length)];
  });
  return Buffer.concat([...parts, end]);
}

const blob = (bytes: Buffer): File => ({ name: `blobs/sha256/${digestOf(bytes).slice(7)}`, data: bytes });
const describeBlob = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
const { os, architecture } = hostPlatform();

/** An OCI layout with one image. */
function layout({ annotations = {}, layer = gzipSync(randomBytes(2000)) } = {}) {
  const diffId = digestOf(randomBytes(1));
  const config = Buffer.from(JSON.stringify({ os, architecture, rootfs: { type: 'layers', diff_ids: [diffId] } }));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: describeBlob(OCI_CONFIG, config),
      layers: [describeBlob('application/vnd.oci.image.layer.v1.tar+gzip', layer)],
    }),
  );
  const entry = { ...describeBlob(OCI_MANIFEST, manifest), annotations };
  const index = JSON.stringify({ schemaVersion: 2, manifests: [entry] });
  const files: File[] = [
    { name: 'oci-layout', data: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', data: index },
    blob(config),
    blob(layer),
    blob(manifest),
  ];
  return { files, manifest, config, layer };
}

async function* pieces(bytes: Buffer, size = 700): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const take = ({ archives }: World, bytes: Buffer, options: ImportOptions = {}) =>
  archives.import(scope, pieces(bytes), options);

const prefix = (name: string, more: Partial<ImportName> = {}): ImportName => ({
  name,
  isPrefix: true,
  allowOverwrite: false,
  addDigest: false,
  skipNamedDigest: false,
  ...more,
});

async function everything(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of bytes) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

function assertClean({ content, images, leases, snapshots }: World): void {
  assert.deepEqual([...content.ingests.keys()], []);
  assert.deepEqual(snapshots.unfinished(), []);
  assert.deepEqual([...leases.held.keys()], []);
  assert.deepEqual([...images.images.keys()], []);
}

describe('an import', () => {
  const named = { 'io.containerd.image.name': 'docker.io/library/a:1', 'org.opencontainers.image.ref.name': '1' };

  for (const [how, compress] of [
    ['plain', (bytes: Buffer) => bytes],
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ] as const) {
    it(`takes an OCI archive (${how})`, async () => {
      const here = world();
      const { files, manifest, layer } = layout({ annotations: named });
      const images = await take(here, compress(tar(files)), { names: [prefix('x', { allowOverwrite: true })] });
      assert.deepEqual(
        images.map(({ name, target }) => [name, target]),
        [['docker.io/library/a:1', describeBlob(OCI_MANIFEST, manifest)]],
      );
      assert.deepEqual(here.content.blobs.get(digestOf(layer))?.bytes, layer);
      const labels = here.content.blobs.get(digestOf(manifest))?.labels ?? {};
      assert.equal(labels['containerd.io/gc.ref.content.l.0'], digestOf(layer));
      assert.deepEqual([...here.leases.held.keys()], []);
    });
  }

  it('names what it holds as it was told to', async () => {
    const tagged = { 'org.opencontainers.image.ref.name': 'latest' };
    const { files, manifest } = layout({ annotations: tagged });
    const digest = digestOf(manifest);
    const names = async (options: ImportOptions, archive = files) =>
      (await take(world(), tar(archive), options)).map(({ name }) => name);
    assert.deepEqual(await names({}), []);
    assert.deepEqual(await names({ names: [prefix('x/y')] }), ['x/y:latest']);
    const index = digestOf(Buffer.from(files[1]?.data ?? ''));
    assert.deepEqual(await names({ names: [prefix('x/y', { addDigest: true })] }), [
      `x/y@${index}`,
      'x/y:latest',
      `x/y@${digest}`,
    ]);
    const skipping = await names({ names: [prefix('x', { addDigest: true, skipNamedDigest: true })] });
    assert.deepEqual(skipping, [`x@${index}`, 'x:latest']);
    assert.deepEqual(await names({ name: 'all' }), ['all']);
    const { files: full } = layout({ annotations: named });
    assert.deepEqual(await names({ names: [prefix('docker.io/library/a')] }, full), ['docker.io/library/a:1']);
    assert.deepEqual(await names({ names: [prefix('docker.io/library/ab')] }, full), []);
  });

  it('unpacks on request', async () => {
    const here = world();
    const content = randomBytes(3000);
    const docker = dockerArchive([content]);
    await take(here, tar(docker.files), { name: 'x', compress: true, unpack: [{}] });
    assert.deepEqual(here.snapshots.chain(chainIds([digestOf(content)]).at(-1) ?? ''), [digestOf(content)]);
  });

  /** What `docker save` wrote before version 25; equal layers are links. */
  function dockerArchive(layers: readonly Buffer[], tags: readonly string[] | null = ['a:1', 'quay.io/b/c:2']) {
    const diff_ids = layers.map(digestOf);
    const config = Buffer.from(JSON.stringify({ os, architecture, rootfs: { type: 'layers', diff_ids } }));
    const manifest = [{ Config: 'c.json', RepoTags: tags, Layers: layers.map((_, i) => `${i}/layer.tar`) }];
    const files: File[] = [
      ...layers.map((data, i) => ({ name: `./${i}/layer.tar`, data })),
      { name: 'c.json', data: config },
      { name: 'manifest.json', data: JSON.stringify(manifest) },
    ];
    return { files, config };
  }

  it('takes a Docker archive, with every name it has', async () => {
    const here = world();
    const layers = [randomBytes(100), gzipSync(randomBytes(100)), zstdCompressSync(randomBytes(100))];
    const { files } = dockerArchive(layers);
    const images = await take(here, tar(files), { names: [prefix('x', { allowOverwrite: true })] });
    assert.deepEqual(
      images.map(({ name }) => name),
      ['docker.io/library/a:1', 'quay.io/b/c:2'],
    );
    const manifest = JSON.parse(String(here.content.blobs.get(images[0]?.target.digest ?? '')?.bytes));
    assert.deepEqual(
      manifest.layers.map(({ mediaType }: { mediaType: string }) => mediaType.replace(/.*diff/, '')),
      ['.tar', '.tar.gzip', '.tar.zstd'],
    );
  });

  it('follows the links of an old Docker archive, within it', async () => {
    const here = world();
    const layer = randomBytes(100);
    const { files } = dockerArchive([layer, layer], null);
    const linked = files.map((file) =>
      file.name === './1/layer.tar' ? { name: file.name, type: 'symlink' as const, link: '../0/layer.tar' } : file,
    );
    await take(here, tar(linked), { name: 'whole' });
    const away = files.map((file) =>
      file.name === './1/layer.tar' ? { name: file.name, type: 'symlink' as const, link: '../../etc/shadow' } : file,
    );
    await assert.rejects(take(world(), tar(away), { name: 'whole' }), { code: 'NOT_FOUND', message: /1\/layer\.tar/ });
  });

  it('compresses the layers of a Docker archive on request', async () => {
    const here = world();
    const layer = Buffer.alloc(200_000, 'x');
    const { files } = dockerArchive([layer]);
    const [image] = await take(here, tar(files), {
      compress: true,
      names: [prefix('x', { allowOverwrite: true })],
      unpack: [{}],
    });
    const manifest = JSON.parse(String(here.content.blobs.get(image?.target.digest ?? '')?.bytes));
    assert.match(manifest.layers[0].mediaType, /gzip$/);
    assert.ok(manifest.layers[0].size < 10_000);
  });

  for (const [what, files, code] of [
    ['nothing', [], 'INVALID_ARGUMENT'],
    ['another version of the layout', [{ name: 'oci-layout', data: '{"imageLayoutVersion":"9"}' }], 'INVALID_ARGUMENT'],
    ['no index', layout().files.filter(({ name }) => name !== 'index.json'), 'INVALID_ARGUMENT'],
    ['no manifest', layout().files.slice(0, 4), 'NOT_FOUND'],
    ['no layer', layout().files.toSpliced(3, 1), 'NOT_FOUND'],
    ['a manifest that is no JSON', [{ name: 'manifest.json', data: '[{' }], 'INVALID_ARGUMENT'],
    ['a manifest of another shape', [{ name: 'manifest.json', data: '[{"Config":5}]' }], 'INVALID_ARGUMENT'],
    ['a manifest that nests without end', [{ name: 'manifest.json', data: '['.repeat(100_000) }], 'INVALID_ARGUMENT'],
    ['a manifest of 21 MiB', [{ name: 'manifest.json', data: Buffer.alloc(21 << 20, ' ') }], 'INVALID_ARGUMENT'],
    ['a tag that is none', [...dockerArchive([]).files.slice(0, -1), tagged('::')], 'INVALID_ARGUMENT'],
  ] as const) {
    it(`refuses an archive with ${what}, and leaves nothing`, async () => {
      const here = world();
      await assert.rejects(take(here, tar(files), { name: 'x' }), { code });
      assertClean(here);
    });
  }

  function tagged(tag: string): File {
    return { name: 'manifest.json', data: JSON.stringify([{ Config: 'c.json', RepoTags: [tag], Layers: [] }]) };
  }

  it('believes no name of a blob', async () => {
    const here = world();
    const { files, layer } = layout();
    const forged = files.map((file) =>
      file.name.endsWith(digestOf(layer).slice(7)) ? { ...file, data: randomBytes(layer.length) } : file,
    );
    await assert.rejects(take(here, tar(forged), { name: 'x' }), { code: 'NOT_FOUND', message: /lacks/ });
    assert.ok(!here.content.blobs.has(digestOf(layer)));
  });

  it('takes the last of two files of one name, as a layout on a disk would be', async () => {
    const here = world();
    const { files } = layout({ annotations: named });
    const twice = [{ name: 'index.json', data: '{}' }, ...files];
    assert.equal((await take(here, tar(twice), { name: 'x' })).length, 1);
  });

  it('refuses an archive that breaks off, at any byte', async () => {
    const whole = tar(layout().files, Buffer.alloc(0));
    for (let length = 100; length < whole.length - 512; length += 499) {
      const here = world();
      await assert.rejects(take(here, whole.subarray(0, length), { name: 'x' }), `${length}`);
      assertClean(here);
    }
  });

  it('ends with its caller', async () => {
    const here = world();
    const controller = new AbortController();
    async function* slow() {
      yield tar(layout().files).subarray(0, 1500);
      controller.abort();
      yield Buffer.alloc(512);
    }
    const importing = here.archives.import({ ...scope, signal: controller.signal }, slow(), { name: 'x' });
    await assert.rejects(importing);
    assertClean(here);
  });
});

describe('an export', () => {
  async function filled() {
    const here = world();
    const { files, ...parts } = layout();
    const names = [prefix('docker.io/library/a', { addDigest: true })];
    const [image] = await take(here, tar(files), { names });
    return { here, name: image?.name ?? '', ...parts };
  }

  it('is what an import takes, and always the same bytes', async () => {
    const { here, name } = await filled();
    const bytes = await everything(here.archives.export(scope, [name]));
    assert.deepEqual(await everything(here.archives.export(scope, [name])), bytes);
    assert.deepEqual([...here.leases.held.keys()], []);
    const there = world();
    const images = await take(there, bytes, { names: [prefix('x', { allowOverwrite: true })] });
    assert.deepEqual(
      images.map((image) => image.name),
      [name],
    );
    assert.deepEqual(images[0]?.target, here.images.images.get(name)?.target);
  });

  it('of an index holds the platform that is wanted', async () => {
    const { here, manifest } = await filled();
    const platform = { os, architecture };
    const other = { ...describeBlob(OCI_MANIFEST, Buffer.from('absent')), platform: { os, architecture: 's390x' } };
    const entries = [{ ...describeBlob(OCI_MANIFEST, manifest), platform }, other];
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries }));
    here.content.blobs.set(digestOf(index), { bytes: index, labels: {} });
    await here.images.create(scope, { name: 'x.io/b:1', target: describeBlob(OCI_INDEX, index) });
    const bytes = await everything(here.archives.export(scope, ['x.io/b:1']));
    const taken = await take(world(), bytes, { names: [prefix('x.io/b')], platforms: [platform] });
    assert.equal(taken[0]?.target.digest, digestOf(index));
    await assert.rejects(everything(here.archives.export(scope, ['x.io/b:1'], { allPlatforms: true })), {
      code: 'NOT_FOUND',
    });
    const plan9 = [{ os: 'plan9', architecture: 'mips' }];
    await assert.rejects(everything(here.archives.export(scope, ['x.io/b:1'], { platforms: plan9 })), {
      code: 'NOT_FOUND',
    });
  });

  it('fails rather than give away damaged bytes', async () => {
    const { here, name, layer } = await filled();
    here.content.blobs.set(digestOf(layer), { bytes: randomBytes(layer.length), labels: {} });
    await assert.rejects(everything(here.archives.export(scope, [name])), { code: 'DATA_LOSS' });
    await assert.rejects(everything(here.archives.export(scope, ['absent'])), { code: 'NOT_FOUND' });
    await assert.rejects(everything(here.archives.export(scope, [])), { code: 'INVALID_ARGUMENT' });
    assert.deepEqual([...here.leases.held.keys()], []);
  });
});
