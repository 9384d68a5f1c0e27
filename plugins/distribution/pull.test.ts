import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { PullOptions, PullProgress } from '../../kernel/contracts/distribution.js';
import type { ImageVerifier } from '../../kernel/contracts/image-verifiers.js';
import type { Labels } from '../../kernel/contracts/scope.js';
import { digestOf } from '../../lib/digest.js';
import { DISCARD_UNPACKED } from '../../lib/discard-label.js';
import { OCI_INDEX, OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../../test/harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../../test/harness/memory-snapshots.js';
import { addImage, addIndex, type ScriptedImage } from '../../test/hostile/images.js';
import { refuse, resetAfter, ScriptedRegistry } from '../../test/hostile/registry.js';
import { IMPATIENT } from '../../test/hostile/sessions.js';
import { type DistributionSettings, RegistryDistribution } from './distribution.js';

const scope = { namespace: 'default' };
const MIB = 2 ** 20;
const unpack = [{}];

/** A distribution on in-memory services. */
function world(
  capabilities: readonly string[] = ['rebase'],
  namespaceLabels: Labels = {},
  changes: Partial<DistributionSettings> = {},
) {
  const leases = new MemoryLeases();
  const content = new MemoryContent(leases);
  const images = new MemoryImages();
  const snapshots = new MemorySnapshots(leases, capabilities);
  const diff = new MemoryDiff(snapshots);
  const verifiers = new Map<string, ImageVerifier>();
  const namespaces = memoryNamespaces(namespaceLabels);
  const services = { content, diff, images, leases, namespaces, snapshots, verifiers };
  const settings = {
    downloads: 3,
    downloadChunk: 0,
    hostsDirectories: [],
    userAgent: 'keelson/test',
    uploadChunk: 0,
    limits: IMPATIENT,
    ...changes,
  };
  const distribution = new RegistryDistribution(services, settings, pino({ level: 'silent' }));
  return { ...services, distribution };
}

type World = ReturnType<typeof world>;

/** Nothing of a pull that failed is left but blobs that are whole. */
function assertClean({ content, images, leases, snapshots }: World, chainId?: string): void {
  assert.deepEqual([...content.ingests.keys()], []);
  assert.deepEqual(snapshots.unfinished(), []);
  assert.deepEqual([...leases.held.keys()], []);
  assert.deepEqual([...images.images.keys()], []);
  if (chainId !== undefined) assert.ok(!snapshots.snapshots.has(chainId));
  for (const [digest, { bytes }] of content.blobs) assert.equal(digestOf(bytes), digest);
}

describe('a pull', () => {
  let registry: ScriptedRegistry;
  let image: ScriptedImage;
  /** Uncompressed. */
  let layers: readonly Buffer[];
  let reference: string;
  let tags = 0;

  before(async () => {
    registry = await ScriptedRegistry.start();
  });
  after(() => registry[Symbol.asyncDispose]());

  const publish = (options: Partial<Parameters<typeof addImage>[1]> = {}) => {
    const tag = `t${tags++}`;
    const layers = [randomBytes(3000), randomBytes(2_500_000), randomBytes(70_000), randomBytes(10)];
    const image = addImage(registry, { tag, layers, ...options });
    return { image, layers, reference: `${registry.host}/team/app:${tag}` };
  };

  beforeEach(() => {
    registry.forget();
    ({ image, layers, reference } = publish());
  });

  const blobRequests = (digest: string) => registry.seen(new RegExp(`GET .*/blobs/${digest}`));
  const blobPattern = (index: number) => new RegExp(`GET .*/blobs/${image.layers[index]?.digest}`);

  for (const capabilities of [['rebase'], []]) {
    describe(capabilities.includes('rebase') ? 'with rebase' : 'without rebase', () => {
      it('leaves content, snapshots and the image record', async () => {
        const here = world(capabilities);
        const labels = { mine: 'yes' };
        const pulled = await here.distribution.pull(scope, reference, { unpack, labels });
        assert.deepEqual(pulled.unpacked, [
          { manifest: image.manifest, snapshotter: 'memory', chainId: image.chainId },
        ]);
        assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
        assert.deepEqual(here.snapshots.unfinished(), []);
        assert.deepEqual([...here.content.ingests.keys()], []);
        assert.deepEqual(here.images.images.get(reference)?.target, image.manifest);
        assert.deepEqual(here.images.images.get(reference)?.labels, labels);
        assert.deepEqual([...here.leases.held.keys()], []);
        assert.equal(here.content.blobs.size, 6);
      });

      it('labels everything as containerd does', async () => {
        const here = world(capabilities);
        await here.distribution.pull(scope, reference, { unpack });
        const source = { 'containerd.io/distribution.source.127.0.0.1': 'team/app' };
        const labelsOf = (digest: string) => here.content.blobs.get(digest)?.labels;
        assert.deepEqual(labelsOf(image.manifest.digest), {
          ...source,
          'containerd.io/gc.ref.content.config': image.config.digest,
          ...Object.fromEntries(image.layers.map(({ digest }, i) => [`containerd.io/gc.ref.content.l.${i}`, digest])),
        });
        assert.deepEqual(labelsOf(image.config.digest), {
          ...source,
          'containerd.io/gc.ref.snapshot.memory': image.chainId,
        });
        for (const [index, { digest }] of image.layers.entries()) {
          assert.deepEqual(labelsOf(digest), { ...source, 'containerd.io/uncompressed': image.diffIds[index] });
        }
        const top = here.snapshots.snapshots.get(image.chainId);
        assert.deepEqual(top?.labels, {
          'containerd.io/snapshot.ref': image.chainId,
          'containerd.io/snapshot/diff-id': image.diffIds.at(-1),
          'containerd.io/snapshot/parent-chain-id': top?.parent,
        });
        for (const { key } of here.snapshots.prepared) assert.match(key, /^extract-\d+-[\w-]{4} sha256:[0-9a-f]{64}$/);
      });

      it('does not keep blobs of unpacked layers where that is wanted, nor fetches them again', async () => {
        const here = world(capabilities, {}, { discardUnpacked: true });
        await here.distribution.pull(scope, reference, { unpack });
        const labels = here.content.blobs.get(image.manifest.digest)?.labels ?? {};
        assert.deepEqual(
          Object.keys(labels).filter((key) => key.startsWith('containerd.io/gc.ref')),
          ['containerd.io/gc.ref.content.config'],
        );
        assert.ok(
          here.diff.opened.every(({ sync }) => sync === true),
          'files are flushed before their blobs may go',
        );
        for (const { digest } of image.layers) here.content.blobs.delete(digest);
        registry.requests.length = 0;
        await here.distribution.pull(scope, reference, { unpack });
        assert.deepEqual(registry.seen(/blobs/), []);
      });

      for (const [who, namespaceLabels, labels] of [
        ['its namespace', { [DISCARD_UNPACKED]: 'true' }, {}],
        ['the image', {}, { [DISCARD_UNPACKED]: 'true' }],
      ] as const) {
        it(`does not fetch layers again that ${who} lets go of once they are unpacked`, async () => {
          const here = world(capabilities, namespaceLabels);
          await here.distribution.pull(scope, reference, { unpack, labels });
          for (const { digest } of image.layers) here.content.blobs.delete(digest);
          registry.requests.length = 0;
          await here.distribution.pull(scope, reference, { unpack, labels });
          assert.deepEqual(registry.seen(/blobs/), []);
          // Another snapshotter, or none, needs them.
          await here.distribution.pull(scope, reference, { labels });
          assert.equal(registry.seen(/blobs/).length, image.layers.length);
        });
      }

      it('takes large layers in ranges where that is wanted, and unpacks them while they arrive', async () => {
        const here = world(capabilities, {}, { downloadChunk: MIB });
        await here.distribution.pull(scope, reference, { unpack });
        assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
        for (const [index, { digest, size }] of image.layers.entries()) {
          assert.ok(here.content.blobs.get(digest)?.bytes.equals(image.blobs[index] ?? Buffer.alloc(0)), digest);
          assert.equal(blobRequests(digest).length, size > MIB ? 3 : 1);
        }
        assert.deepEqual([...here.content.ingests.keys()], []);
      });

      it('never takes ranges that were mixed up, and nothing keeps the next pull from it', async () => {
        const here = world(capabilities, {}, { downloadChunk: MIB });
        const blob = image.blobs[1] ?? Buffer.alloc(0);
        registry.script(blobPattern(1), (response) => {
          const headers = { 'content-length': MIB, 'content-range': `bytes 0-${MIB - 1}/${blob.length}` };
          response.writeHead(206, headers).end(blob.subarray(MIB, 2 * MIB));
        });
        await assert.rejects(here.distribution.pull(scope, reference, { unpack }), { code: 'FAILED_PRECONDITION' });
        assertClean(here, image.chainId);
        await here.distribution.pull(scope, reference, { unpack });
        assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
      });

      it('holds everything by its lease while it runs', async () => {
        const here = world(capabilities);
        await here.distribution.pull(scope, reference, { unpack });
        const [held] = here.leases.history;
        for (const digest of here.content.blobs.keys()) assert.ok(held?.has(`content ${digest}`), digest);
        for (const name of here.snapshots.snapshots.keys()) assert.ok(held?.has(`snapshots/memory ${name}`), name);
      });

      it('costs one HEAD when repeated', async () => {
        const here = world(capabilities);
        await here.distribution.pull(scope, reference, { unpack });
        const opened = here.diff.opened.length;
        registry.requests.length = 0;
        const again = await here.distribution.pull(scope, reference, { unpack });
        assert.equal(again.unpacked[0]?.chainId, image.chainId);
        assert.deepEqual(
          registry.requests.map(({ method }) => method),
          ['HEAD'],
        );
        assert.equal(here.diff.opened.length, opened);
      });

      it('unpacks what is in content without fetching it again', async () => {
        const here = world(capabilities);
        await here.distribution.pull(scope, reference);
        assert.equal(here.snapshots.snapshots.size, 0);
        registry.requests.length = 0;
        await here.distribution.pull(scope, reference, { unpack });
        assert.equal(registry.requests.length, 1);
        assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
      });

      it('unpacks on top of layers that are there', async () => {
        const here = world(capabilities);
        const [a, b, c] = [randomBytes(100), randomBytes(200), randomBytes(300)];
        const first = publish({ layers: [a, b] });
        const second = publish({ layers: [a, b, c] });
        await here.distribution.pull(scope, first.reference, { unpack });
        await here.distribution.pull(scope, second.reference, { unpack });
        assert.equal(here.diff.opened.length, 3);
        assert.deepEqual(here.snapshots.chain(second.image.chainId), second.image.diffIds);
        assert.equal(blobRequests(second.image.layers[0]?.digest ?? '').length, 1);
      });

      const broken: [string, string, (index: number) => void][] = [
        [
          'other bytes of the same length',
          'FAILED_PRECONDITION',
          (index) => {
            registry.script(blobPattern(index), (response) =>
              response.end(Buffer.alloc(image.layers[index]?.size ?? 0)),
            );
          },
        ],
        [
          'more bytes',
          'FAILED_PRECONDITION',
          (index) => {
            registry.script(blobPattern(index), (response) => {
              response.write(image.blobs[index]);
              response.end('x');
            });
          },
        ],
        [
          'fewer bytes',
          'FAILED_PRECONDITION',
          (index) => {
            registry.script(blobPattern(index), (response) => {
              response.write(image.blobs[index]?.subarray(0, -1));
              response.end();
            });
            registry.script(blobPattern(index), (response) => response.writeHead(416).end(), 9);
          },
        ],
        [
          'no bytes',
          'NOT_FOUND',
          (index) => {
            registry.script(blobPattern(index), (response) => refuse(response, 404, 'BLOB_UNKNOWN', 'gone'));
          },
        ],
      ];
      for (const [name, code, sabotage] of broken) {
        for (const index of [0, 1, 3]) {
          it(`leaves nothing when layer ${index} has ${name}, and succeeds the next time`, async () => {
            const here = world(capabilities);
            sabotage(index);
            const failing = here.distribution.pull(scope, reference, { unpack });
            await assert.rejects(failing, (error) => {
              assert.ok(error instanceof Error && 'code' in error);
              assert.ok(
                error.code === code ||
                  (name === 'fewer bytes' && error.code === 'OUT_OF_RANGE') ||
                  name === 'other bytes of the same length',
                error.message,
              );
              return true;
            });
            assertClean(here, image.chainId);
            registry.forget();
            await here.distribution.pull(scope, reference, { unpack });
            assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
          });
        }
      }

      it('leaves nothing of a layer that is cut short but true to its digest', async () => {
        const here = world(capabilities);
        const whole = publish({ layers: [randomBytes(5000), randomBytes(5000)] });
        const cut = whole.image.blobs[1]?.subarray(0, 3000) ?? Buffer.alloc(0);
        const layers = [whole.image.layers[0], registry.addBlob(cut, whole.image.layers[1]?.mediaType)];
        registry.addManifest({ schemaVersion: 2, config: whole.image.config, layers }, OCI_MANIFEST, 'cut');
        const failing = here.distribution.pull(scope, `${registry.host}/team/app:cut`, { unpack });
        await assert.rejects(failing, { code: 'INVALID_ARGUMENT' });
        assertClean(here, whole.image.chainId);
      });

      it('never keeps a snapshot whose bytes are not those of its name', async () => {
        const here = world(capabilities);
        const other = digestOf(Buffer.from('other'));
        const lying = publish({ layers: [randomBytes(10), randomBytes(20)], diffIds: [image.diffIds[0] ?? '', other] });
        await assert.rejects(here.distribution.pull(scope, lying.reference, { unpack }), {
          code: 'FAILED_PRECONDITION',
          message: /unpacks to/,
        });
        assertClean(here, lying.image.chainId);
        assert.deepEqual([...here.snapshots.snapshots.keys()], []);
      });

      it('leaves nothing when it is cancelled', async () => {
        const here = world(capabilities);
        const controller = new AbortController();
        registry.script(blobPattern(1), (response) => {
          response.writeHead(200).write(image.blobs[1]?.subarray(0, 2_000_000));
          setTimeout(() => controller.abort(), 50);
        });
        const pulling = here.distribution.pull({ ...scope, signal: controller.signal }, reference, { unpack });
        await assert.rejects(pulling, { code: 'CANCELED' });
        assertClean(here, image.chainId);
      });

      it('goes on with what a killed daemon left of a download', async () => {
        for (const wrong of [false, true]) {
          registry.forget();
          const here = world(capabilities);
          const { digest = '', size = 0 } = image.layers[1] ?? {};
          const writer = await here.content.writer(scope, { ref: `layer-${digest}`, total: size, expected: digest });
          const left = image.blobs[1]?.subarray(0, 1_200_000) ?? Buffer.alloc(0);
          await writer.write(wrong ? Buffer.alloc(left.length) : left);
          await writer.close();
          await here.distribution.pull(scope, reference, { unpack });
          assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
          const ranges = blobRequests(digest).map(({ headers }) => headers.range);
          assert.deepEqual(ranges, wrong ? ['bytes=1200000-', undefined] : ['bytes=1200000-']);
        }
      });

      it('goes on after a reset', async () => {
        const here = world(capabilities);
        registry.script(blobPattern(1), resetAfter(image.blobs[1] ?? Buffer.alloc(0), 700_000), 3);
        await here.distribution.pull(scope, reference, { unpack });
        assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
      });
    });
  }

  it('fetches nothing that a verifier says no to, or cannot judge', async () => {
    const here = world();
    const asked: unknown[] = [];
    here.verifiers.set('b', { verify: async () => ({ accepted: false, reason: 'not signed' }) });
    here.verifiers.set('a', {
      async verify({ name, target }) {
        asked.push([name, target]);
        return { accepted: true, reason: '' };
      },
    });
    const blocked = { code: 'PERMISSION_DENIED', message: /verifier "b" blocked pull of .*: not signed/ };
    await assert.rejects(here.distribution.pull(scope, reference, { unpack }), blocked);
    await assert.rejects(here.distribution.fetch(scope, reference), blocked);
    assert.deepEqual(asked[0], [reference, image.manifest]);
    assert.equal(registry.seen(/GET/).length, 0);
    here.verifiers.set('b', {
      verify: async () => {
        throw new TypeError('broken');
      },
    });
    await assert.rejects(here.distribution.pull(scope, reference, { unpack }), { message: 'broken' });
    assertClean(here, image.chainId);
    here.verifiers.delete('b');
    await here.distribution.pull(scope, reference, { unpack });
  });

  it('repairs what was damaged on the disk, and takes nothing else again', async () => {
    const here = world();
    await here.distribution.fetch(scope, reference);
    const damage = (digest = '') => {
      const blob = here.content.blobs.get(digest);
      assert.ok(blob);
      here.content.blobs.set(digest, { ...blob, bytes: randomBytes(blob.bytes.length) });
    };
    for (const part of [image.manifest, image.config, image.layers[1]]) damage(part?.digest);
    registry.forget();
    await here.distribution.pull(scope, reference, { unpack });
    assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
    for (const [digest, { bytes }] of here.content.blobs) assert.equal(digestOf(bytes), digest);
    assert.equal(registry.seen(/GET/).length, 3);
    assert.deepEqual(here.snapshots.unfinished(), []);
    assert.deepEqual([...here.leases.held.keys()], []);
  });

  describe('of layers side by side', () => {
    it('unpacks all but the base without parents, and puts them in order', async () => {
      const here = world();
      await here.distribution.pull(scope, reference, { unpack });
      assert.equal(here.snapshots.prepared.length, 4);
      assert.ok(here.snapshots.prepared.every(({ parent }) => parent === ''));
      assert.deepEqual(here.diff.opened.map(({ detached }) => detached).sort(), [false, true, true, true]);
    });

    it('applies a layer again that cannot do without its parents', async () => {
      const here = world();
      const layers = [randomBytes(100), Buffer.from('needs-parent!'), randomBytes(100)];
      const stubborn = publish({ layers });
      await here.distribution.pull(scope, stubborn.reference, { unpack });
      assert.deepEqual(here.snapshots.chain(stubborn.image.chainId), stubborn.image.diffIds);
      assert.equal(here.diff.opened.length, 4);
      assert.equal(blobRequests(stubborn.image.layers[1]?.digest ?? '').length, 1);
      assert.deepEqual(here.snapshots.unfinished(), []);
    });
  });

  describe('beside other pulls', () => {
    it('shares downloads and unpacks', async () => {
      const here = world();
      const scopes = ['a', 'b', 'c'].map((name) => ({ ...scope, name }));
      const pulled = await Promise.all(scopes.map((each) => here.distribution.pull(each, reference, { unpack })));
      assert.equal(pulled.length, 3);
      for (const { digest } of image.layers) assert.equal(blobRequests(digest).length, 1);
      assert.equal(registry.seen(/GET .*manifests/).length, 1);
      assert.equal(here.diff.opened.length, 4);
      for (const held of here.leases.history) {
        for (const digest of here.content.blobs.keys()) assert.ok(held.has(`content ${digest}`));
        for (const name of here.snapshots.snapshots.keys()) assert.ok(held.has(`snapshots/memory ${name}`));
      }
      assert.deepEqual([...here.leases.held.keys()], []);
    });

    it('goes on when the one that began gives up', async () => {
      const here = world();
      const first = new AbortController();
      const begun = Promise.withResolvers<void>();
      const proceed = Promise.withResolvers<void>();
      registry.script(blobPattern(1), (response, _request, normal) => {
        begun.resolve();
        void proceed.promise.then(normal);
        void response;
      });
      const leader = here.distribution.pull({ ...scope, signal: first.signal }, reference, { unpack });
      const gone = assert.rejects(leader, { code: 'CANCELED' });
      await begun.promise;
      const joined = Promise.withResolvers<void>();
      // The base is there already: with its end, all other layers have been joined.
      const onProgress = ({ event, descriptor }: PullProgress) => {
        if (event === 'already exists' && descriptor?.digest === image.layers[0]?.digest) joined.resolve();
      };
      const follower = here.distribution.pull(scope, reference, { unpack, names: ['follower'], onProgress });
      await joined.promise;
      first.abort();
      await gone;
      assert.equal(here.snapshots.snapshots.has(image.chainId), false);
      proceed.resolve();
      await follower;
      assert.equal(blobRequests(image.layers[1]?.digest ?? '').length, 1);
      assert.equal(here.diff.opened.length, 4);
      assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
      assert.deepEqual([...here.images.images.keys()], ['follower']);
      await here.distribution.stop();
      assert.deepEqual([...here.leases.held.keys()], []);
      const [, held] = here.leases.history;
      for (const digest of here.content.blobs.keys()) assert.ok(held?.has(`content ${digest}`), digest);
      for (const name of here.snapshots.snapshots.keys()) assert.ok(held?.has(`snapshots/memory ${name}`), name);
    });

    it('fetches and unpacks once for fifty clients, one of which gives up, and for images that share layers', async () => {
      const here = world();
      const sibling = publish({ layers: [...layers.slice(0, 2), randomBytes(500)] });
      const leaving = new AbortController();
      const pulls = Array.from({ length: 50 }, (_, index) => {
        const signal = index === 25 ? { signal: leaving.signal } : {};
        const options = { unpack, names: [`image-${index}`] };
        return here.distribution.pull(
          { ...scope, ...signal },
          index % 2 === 0 ? reference : sibling.reference,
          options,
        );
      });
      const settled = Promise.allSettled(pulls);
      leaving.abort();
      const failed = (await settled).flatMap((result, index) => (result.status === 'rejected' ? [index] : []));
      assert.deepEqual(failed, [25]);
      const digests = new Set([...image.layers, ...sibling.image.layers].map(({ digest }) => digest));
      for (const digest of digests) assert.equal(blobRequests(digest).length, 1, digest);
      assert.equal(here.diff.opened.length, digests.size);
      assert.equal(here.images.images.size, 49);
      assert.deepEqual(here.snapshots.unfinished(), []);
      await here.distribution.stop();
      assert.deepEqual([...here.leases.held.keys()], []);
    });

    it('takes over when the one that began fails', async () => {
      const here = world();
      registry.script(blobPattern(1), (response) => response.writeHead(403).end());
      const outcomes = await Promise.allSettled([
        here.distribution.pull(scope, reference, { unpack }),
        here.distribution.pull(scope, reference, { unpack }),
      ]);
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
      assert.deepEqual([...here.leases.held.keys()], []);
      assert.deepEqual(here.snapshots.unfinished(), []);
    });

    it('waits for an ingest that a client holds', async () => {
      const here = world();
      const { digest = '', size = 0 } = image.layers[0] ?? {};
      const writer = await here.content.writer(scope, { ref: `layer-${digest}`, total: size, expected: digest });
      const pulling = here.distribution.pull(scope, reference, { unpack });
      await writer.write(image.blobs[0] ?? Buffer.alloc(0));
      await writer.commit({ size, expected: digest });
      await pulling;
      assert.equal(blobRequests(digest).length, 0);
      assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
    });

    it('stops with the daemon', async () => {
      const here = world();
      registry.script(blobPattern(1), () => {});
      const pulling = here.distribution.pull(scope, reference, { unpack });
      const gone = assert.rejects(pulling, { code: 'CANCELED' });
      await new Promise((resolve) => setTimeout(resolve, 50));
      await here.distribution.stop();
      await gone;
      assertClean(here, image.chainId);
    });
  });

  describe('by platform', () => {
    const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const amd = { os: 'linux', architecture: 'amd64' };
    const several = () => {
      const forArm = publish({ layers: [randomBytes(10)], platform: arm }).image;
      const forAmd = publish({ layers: [randomBytes(10)], platform: amd }).image;
      const entries = [
        { ...forArm.manifest, platform: arm },
        { ...forAmd.manifest, platform: amd },
      ];
      const tag = `i${tags++}`;
      return { forArm, forAmd, index: addIndex(registry, tag, entries), text: `${registry.host}/team/app:${tag}` };
    };

    it('fetches only what suits', async () => {
      const here = world();
      const { forArm, forAmd, index, text } = several();
      const pulled = await here.distribution.pull(scope, text, { platforms: [arm], unpack: [{ platform: arm }] });
      assert.equal(pulled.unpacked[0]?.chainId, forArm.chainId);
      assert.ok(!here.content.blobs.has(forAmd.manifest.digest));
      assert.deepEqual(here.images.images.get(text)?.target, index);
      const labels = here.content.blobs.get(index.digest)?.labels;
      assert.equal(labels?.['containerd.io/gc.ref.content.m.0'], forArm.manifest.digest);
      assert.equal(labels?.['containerd.io/gc.ref.content.m.1'], forAmd.manifest.digest);
    });

    it('fetches all of them on request, or all their metadata', async () => {
      const { forArm, forAmd, text } = several();
      const all = world();
      await all.distribution.pull(scope, text, { platforms: 'all' });
      const metadata = world();
      await metadata.distribution.pull(scope, text, { platforms: [arm], allMetadata: true });
      assert.ok(all.content.blobs.has(forAmd.layers[0]?.digest ?? ''));
      assert.ok(metadata.content.blobs.has(forAmd.config.digest));
      assert.ok(metadata.content.blobs.has(forArm.layers[0]?.digest ?? ''));
      assert.ok(!metadata.content.blobs.has(forAmd.layers[0]?.digest ?? ''));
    });

    it('says what there is when nothing suits', async () => {
      const here = world();
      const { text } = several();
      const mips = { os: 'linux', architecture: 'mips' };
      await assert.rejects(here.distribution.pull(scope, text, { platforms: [mips], unpack }), {
        code: 'NOT_FOUND',
        message: /linux\/mips, only for linux\/arm64\/v8, linux\/amd64/,
      });
      assertClean(here);
    });
  });

  describe('of hostile documents', () => {
    const pull = (here: World, tag: string, options: PullOptions = { unpack }) =>
      here.distribution.pull(scope, `${registry.host}/team/app:${tag}`, options);

    it('refuses layers that are not as many as diffIDs', async () => {
      const here = world();
      const odd = publish({ layers: [randomBytes(10), randomBytes(10)], diffIds: [image.diffIds[0] ?? ''] });
      await assert.rejects(here.distribution.pull(scope, odd.reference, { unpack }), { code: 'INVALID_ARGUMENT' });
      assertClean(here);
    });

    it('refuses endless nesting, and fetches what repeats once', async () => {
      const here = world();
      let entry = addIndex(registry, undefined, [image.manifest]);
      for (let depth = 0; depth < 1000; depth++)
        entry = addIndex(registry, depth === 999 ? 'deep' : undefined, [entry]);
      await assert.rejects(pull(here, 'deep'), { code: 'INVALID_ARGUMENT', message: /levels deep/ });
      assertClean(here);
      addIndex(
        registry,
        'wide',
        Array.from({ length: 400 }, () => image.manifest),
      );
      registry.requests.length = 0;
      await pull(here, 'wide');
      assert.equal(blobRequests(image.manifest.digest).length + registry.seen(/GET .*manifests/).length, 2);
    });

    it('refuses a configuration of half a gigabyte unread', async () => {
      const here = world();
      const config = { ...image.config, size: 500_000_000 };
      registry.addManifest({ schemaVersion: 2, config, layers: [] }, OCI_MANIFEST, 'big');
      registry.requests.length = 0;
      await assert.rejects(pull(here, 'big'), { code: 'RESOURCE_EXHAUSTED' });
      assert.equal(registry.seen(/blobs/).length, 0);
      assertClean(here);
    });

    it('refuses a manifest that says it is something else', async () => {
      const here = world();
      registry.addManifest(
        { schemaVersion: 2, mediaType: OCI_INDEX, config: image.config, layers: [] },
        OCI_MANIFEST,
        'lie',
      );
      await assert.rejects(pull(here, 'lie'), { code: 'INVALID_ARGUMENT' });
      assertClean(here);
    });

    it('keeps to the digest when the tag moves meanwhile', async () => {
      const here = world();
      const other = publish();
      registry.script(/GET .*manifests/, (_response, _request, normal) => {
        registry.addManifest(Buffer.from('{}'), OCI_MANIFEST, reference.split(':').at(-1));
        normal();
      });
      const pulled = await here.distribution.pull(scope, reference, { unpack });
      assert.equal(pulled.images[0]?.target.digest, image.manifest.digest);
      assert.notEqual(other.image.manifest.digest, image.manifest.digest);
    });

    it('does not let annotations of layers reach the snapshotter', async () => {
      const here = world();
      const annotations = { 'containerd.io/snapshot/uidmapping': '0:1:2', 'containerd.io/snapshot.ref': 'sha256:x' };
      const layers = image.layers.map((layer) => ({ ...layer, annotations }));
      registry.addManifest({ schemaVersion: 2, config: image.config, layers }, OCI_MANIFEST, 'noted');
      await pull(here, 'noted');
      for (const { labels } of here.snapshots.snapshots.values()) {
        assert.equal(labels['containerd.io/snapshot/uidmapping'], undefined);
        assert.match(labels['containerd.io/snapshot.ref'] ?? '', /^sha256:[0-9a-f]{64}$/);
      }
    });

    it('pulls an artifact that is no image without unpacking it', async () => {
      const here = world();
      const config = registry.addBlob(Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
      const layers = [registry.addBlob(Buffer.from('text'), 'text/plain')];
      registry.addManifest({ schemaVersion: 2, config, layers }, OCI_MANIFEST, 'artifact');
      const pulled = await pull(here, 'artifact');
      assert.deepEqual(pulled.unpacked, []);
      assert.equal(here.content.blobs.size, 3);
    });
  });

  it('reports what happens, in order', async () => {
    const here = world();
    const seen: PullProgress[] = [];
    await here.distribution.pull(scope, reference, { unpack, onProgress: (progress) => seen.push(progress) });
    const [layer] = image.layers;
    const events = seen.filter(({ descriptor }) => descriptor?.digest === layer?.digest).map(({ event }) => event);
    assert.deepEqual([...new Set(events)].slice(0, 1), ['waiting']);
    assert.deepEqual(events.slice(-2), ['complete', 'extracted']);
    assert.equal(seen.at(-2)?.event, 'saved');
    const big = seen.filter(
      ({ descriptor, event }) => descriptor?.digest === image.layers[1]?.digest && event === 'downloading',
    );
    assert.ok(big.length > 0 && big.at(-1)?.progress === big.at(-1)?.total);
    assert.equal(
      seen.find(({ name }) => name === `layer-${layer?.digest}`)?.parents[0],
      `manifest-${image.manifest.digest}`,
    );
    const again: string[] = [];
    await here.distribution.pull(scope, reference, { unpack, onProgress: ({ event }) => again.push(event) });
    assert.ok(!again.includes('downloading') && !again.includes('extracted') && again.includes('already exists'));
  });

  it('refuses an unknown snapshotter before it asks the registry', async () => {
    const here = world();
    const wrong = [{ snapshotter: 'nope' }];
    await assert.rejects(here.distribution.pull(scope, reference, { unpack: wrong }), {
      code: 'INVALID_ARGUMENT',
      message: /snapshotter not loaded: "nope".*memory/,
    });
    assert.equal(registry.requests.length, 0);
    const byNamespace = world(['rebase'], { 'containerd.io/defaults/snapshotter': 'gone' });
    await assert.rejects(byNamespace.distribution.pull(scope, reference, { unpack }), { message: /"gone"/ });
  });

  it('refuses what is no reference', async () => {
    const here = world();
    for (const text of ['redis', 'h/../x:y', '', `${registry.host}/team/app`]) {
      await assert.rejects(here.distribution.pull(scope, text, { unpack }), { code: 'INVALID_ARGUMENT' });
    }
    assert.equal(registry.requests.length, 0);
    assertClean(here);
  });

  it('points existing names to the new image, and hands over to the lease of its caller', async () => {
    const here = world();
    const { id } = await here.leases.create(scope, { id: 'mine' });
    const other = publish();
    await here.distribution.pull(scope, other.reference, { names: ['a', 'b'] });
    await here.distribution.pull({ ...scope, lease: id }, reference, { names: ['a'], unpack });
    assert.equal(here.images.images.get('a')?.target.digest, image.manifest.digest);
    assert.equal(here.images.images.get('b')?.target.digest, other.image.manifest.digest);
    assert.deepEqual([...(here.leases.held.get('mine') ?? [])], [`content ${image.manifest.digest}`, 'images a']);
  });

  it('fetches without a record, and resolves without anything', async () => {
    const here = world();
    assert.deepEqual((await here.distribution.resolve(scope, reference)).descriptor, image.manifest);
    assert.equal(here.content.blobs.size, 0);
    assert.deepEqual(await here.distribution.fetch(scope, reference), image.manifest);
    assert.equal(here.content.blobs.size, 6);
    assert.equal(here.images.images.size, 0);
    assert.equal(here.snapshots.snapshots.size, 0);
  });
});
