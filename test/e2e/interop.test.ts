/** What we push, export and diff, others accept, and the other way round: skopeo, umoci, docker-registry and Debian's containerd. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { Ctr, Daemon, imageLayout, run, type Scratch, scratch, startRegistry, succeed } from '../harness/index.js';
import { describeTree, treeDifferences } from '../harness/tree.js';

const registry = await startRegistry();
after(() => registry[Symbol.asyncDispose]());
const ours = await Daemon.start({ kind: 'keelsond' });
after(() => ours[Symbol.asyncDispose]());
const theirs = await Daemon.start({ kind: 'containerd' });
after(() => theirs[Symbol.asyncDispose]());

const namespace = `interop-${process.pid}`;
const program = fileURLToPath(new URL('../../../bin/dist', import.meta.url));
const dist = new Ctr({ address: ours.address, namespace, program });
const ctr = theirs.ctr(namespace);
ours.ctr(namespace); // what it leaves is looked after at the end
const skopeo = (...args: readonly string[]) => succeed('skopeo', ['--insecure-policy', ...args], { timeout: 120_000 });
const insecure = ['--src-tls-verify=false', '--dest-tls-verify=false'];
const descriptor = z.object({ mediaType: z.string(), digest: z.string(), size: z.number() });

describe('images between us and others', () => {
  let work: Scratch;
  let layout: string;
  let source: string;
  let digest: string;

  before(async () => {
    work = await scratch('interop');
    layout = await imageLayout('busybox');
    source = await registry.push(layout, 'test/source');
    const output = await dist.ok('pull', '--plain-http', '--quiet', source);
    digest = output.trimEnd().split(' ').at(-1) ?? '';
  });
  after(() => work[Symbol.asyncDispose]());

  const at = (name: string) => join(work.path, name);

  /** The tree of an OCI layout as umoci unpacks it. */
  async function umociTree(from: string, tag: string, name: string) {
    await succeed('umoci', ['unpack', '--image', `${from}:${tag}`, at(name)], { timeout: 120_000 });
    return describeTree(join(at(name), 'rootfs'), { withoutRoot: true });
  }

  const sameTree = async (from: string, tag: string, name: string) => {
    const expected = await umociTree(layout, 'latest', `${name}-expected`);
    assert.deepEqual(treeDifferences(expected, await umociTree(from, tag, name)), []);
  };

  describe('accept what we make:', () => {
    test('skopeo, umoci and containerd what we push', async () => {
      const copy = `${registry.host}/test/pushed:v1`;
      await dist.ok('push', '--plain-http', copy, source);
      const inspected = await skopeo('inspect', '--tls-verify=false', '--raw', `docker://${copy}`);
      const original = await skopeo('inspect', '--tls-verify=false', '--raw', `docker://${source}`);
      assert.equal(inspected, original);
      await skopeo('copy', ...insecure, '--preserve-digests', `docker://${copy}`, `oci:${at('pushed')}:v1`);
      await sameTree(at('pushed'), 'v1', 'pushed-tree');
      await ctr.ok('images', 'pull', '--plain-http', copy);
      assert.match(await ctr.ok('images', 'ls'), new RegExp(`${copy} .*${digest}`));
    });

    test('skopeo, umoci and containerd what we export, as OCI and as Docker archive', async () => {
      await dist.ok('export', at('exported.tar'), source);
      await skopeo('copy', `oci-archive:${at('exported.tar')}`, `oci:${at('exported')}:v1`);
      await sameTree(at('exported'), 'v1', 'exported-tree');
      await skopeo('copy', `docker-archive:${at('exported.tar')}`, `dir:${at('docker')}`);
      await ctr.ok('images', 'import', '--digests', at('exported.tar'));
      assert.match(await ctr.ok('images', 'ls'), new RegExp(`${source} .*${digest}`));
    });

    for (const compression of ['gzip', 'none', 'zstd'] as const) {
      test(`umoci and containerd a layer that we diff (${compression})`, async () => {
        const key = `changed-${compression}`;
        const top = (await dist.ok('rootfs', 'unpack', source)).trim();
        await dist.ok('rootfs', 'prepare', key, top);
        const mounted = at(`mnt-${compression}`);
        await mkdir(mounted);
        await succeed('sh', ['-c', await dist.ok('rootfs', 'mounts', '--target', mounted, key)]);
        try {
          const script = `cd ${mounted} && rm etc/passwd && echo new >etc/new && chmod 4711 etc/new &&
            ln etc/new etc/hard && ln -s /nowhere etc/soft && mkfifo etc/pipe && mknod etc/null c 1 3 &&
            setfattr -n user.a -v b etc/new; rm -r root && mkdir root && touch -d @5.123456789 root/x`;
          await succeed('sh', ['-c', script]);
        } finally {
          await succeed('umount', [mounted]);
        }
        const json = await dist.ok('rootfs', 'diff', '--format', 'json', '--compression', compression, key);
        const layer = descriptor.parse(JSON.parse(json));
        const built = await withLayer(layer, compression);
        // umoci of Debian 12 knows no zstd; containerd does.
        if (compression !== 'zstd') await umociTree(built, 'v2', `diffed-${compression}-tree`);
        const text = `${registry.host}/test/diffed:${compression}`;
        await skopeo('copy', ...insecure, '--preserve-digests', `oci:${built}:v2`, `docker://${text}`);
        await ctr.ok('images', 'pull', '--plain-http', '--snapshotter', 'native', text);
        await dist.ok('pull', '--plain-http', '--quiet', text);
        const [here, there] = await Promise.all([ourTree(text, `o${compression}`), theirTree(text, `t${compression}`)]);
        assert.deepEqual(treeDifferences(there, here), []);
        assert.ok(here.some(({ path }) => path === 'etc/new') && !here.some(({ path }) => path === 'etc/passwd'));
        await dist.ok('rootfs', 'rm', key);
      });
    }

    /** The source image with one layer more, as an OCI layout. */
    async function withLayer(layer: z.output<typeof descriptor>, name: string): Promise<string> {
      const to = at(`built-${name}`);
      await skopeo('copy', `oci:${layout}:latest`, `oci:${to}:v1`);
      const blob = (of: string) => join(to, 'blobs', of.replace(':', '/'));
      await dist.ok('get', layer.digest, '--output', blob(layer.digest));
      const diffId = await uncompressedDigest(blob(layer.digest), layer.mediaType);
      const read = async (of: string) => JSON.parse(await readFile(blob(of), 'utf8'));
      const index = JSON.parse(await readFile(join(to, 'index.json'), 'utf8'));
      const manifest = await read(index.manifests[0].digest);
      const config = await read(manifest.config.digest);
      config.rootfs.diff_ids.push(diffId);
      config.history?.push({ created_by: 'diff' });
      const write = async (mediaType: string, value: unknown) => {
        await writeFile(join(to, 'new'), JSON.stringify(value));
        const hex = (await succeed('sha256sum', [join(to, 'new')])).split(' ')[0] ?? '';
        const { size } = z.object({ size: z.number() }).parse({ size: JSON.stringify(value).length });
        await succeed('mv', [join(to, 'new'), blob(`sha256:${hex}`)]);
        return { mediaType, digest: `sha256:${hex}`, size };
      };
      manifest.config = await write(manifest.config.mediaType, config);
      manifest.layers.push(layer);
      const made = await write('application/vnd.oci.image.manifest.v1+json', manifest);
      const named = { ...made, annotations: { 'org.opencontainers.image.ref.name': 'v2' } };
      await writeFile(join(to, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
      return to;
    }

    async function uncompressedDigest(file: string, mediaType: string): Promise<string> {
      const tool = mediaType.endsWith('zstd') ? 'zstd -dc' : mediaType.endsWith('gzip') ? 'gzip -dc' : 'cat';
      return `sha256:${(await succeed('sh', ['-c', `${tool} <${file} | sha256sum`])).split(' ')[0]}`;
    }

    const look = async (mounts: string, directory: string) => {
      await succeed('sh', ['-c', mounts]);
      try {
        return describeTree(directory, { withoutRoot: true });
      } finally {
        await succeed('umount', [directory]);
      }
    };

    async function ourTree(text: string, name: string) {
      await mkdir(at(name));
      const top = (await dist.ok('rootfs', 'unpack', text)).trim();
      const mounts = await dist.ok('rootfs', 'prepare', '--readonly', '--target', at(name), name, top);
      const tree = await look(mounts, at(name));
      await dist.ok('rootfs', 'rm', name);
      return tree;
    }

    async function theirTree(text: string, name: string) {
      await mkdir(at(name));
      await ctr.ok('images', 'mount', '--snapshotter', 'native', '--platform', 'linux/amd64', text, at(name));
      try {
        return describeTree(at(name), { withoutRoot: true });
      } finally {
        await ctr.ok('images', 'unmount', at(name));
        await ctr.run(['snapshots', '--snapshotter', 'native', 'rm', at(name)]);
      }
    }
  });

  describe('we accept what they make:', () => {
    const check = async (name: string) => {
      const { stdout } = await dist.run(['images', 'check', `name==${name}`]);
      assert.match(stdout, /complete \(\d+\/\d+\) +true/, stdout);
    };

    test("skopeo's archives, OCI and Docker, and its zstd layers", async () => {
      await skopeo('copy', `oci:${layout}:latest`, `oci-archive:${at('s.oci.tar')}:v1`);
      assert.equal(
        await dist.ok('import', '-q', '--base-name', 'skopeo.test/oci', at('s.oci.tar')),
        'skopeo.test/oci:v1\n',
      );
      await check('skopeo.test/oci:v1');
      await skopeo('copy', `oci:${layout}:latest`, `docker-archive:${at('s.docker.tar')}:skopeo.test/docker:v1`);
      await succeed('gzip', ['-1', at('s.docker.tar')]);
      assert.equal(await dist.ok('import', '-q', `${at('s.docker.tar')}.gz`), 'skopeo.test/docker:v1\n');
      await check('skopeo.test/docker:v1');
      const zstd = `${registry.host}/test/zstd:v1`;
      await skopeo('copy', ...insecure, '--dest-compress-format', 'zstd', `oci:${layout}:latest`, `docker://${zstd}`);
      await dist.ok('pull', '--plain-http', '-q', zstd);
      await check(zstd);
    });

    test("umoci's layers", async () => {
      await succeed('cp', ['-r', layout, at('umoci')]);
      await succeed('umoci', ['unpack', '--image', `${at('umoci')}:latest`, at('bundle')], { timeout: 120_000 });
      await succeed('sh', ['-c', `cd ${at('bundle')}/rootfs && rm etc/passwd && mkdir -p a/b && echo x >a/b/c`]);
      await succeed('umoci', ['repack', '--image', `${at('umoci')}:changed`, at('bundle')], { timeout: 120_000 });
      const text = `${registry.host}/test/umoci:changed`;
      await skopeo('copy', ...insecure, `oci:${at('umoci')}:changed`, `docker://${text}`);
      await dist.ok('pull', '--plain-http', '-q', text);
      await check(text);
    });

    test("containerd's exports, pushes and diffs", async () => {
      await ctr.ok('images', 'pull', '--plain-http', source);
      await ctr.ok('images', 'export', at('ctr.tar'), source);
      const other = new Ctr({ address: ours.address, namespace: `${namespace}-import`, program });
      ours.ctr(`${namespace}-import`);
      assert.equal(await other.ok('import', '-q', at('ctr.tar')), `${source}\n`);
      const pushed = `${registry.host}/test/ctr:v1`;
      await ctr.ok('images', 'push', '--plain-http', pushed, source);
      const { stdout } = await dist.run(['pull', '--plain-http', '-q', pushed]);
      assert.equal(stdout, `${pushed} ${digest}\n`);
    });

    test("Debian's ctr as our client pushes, exports and imports", async () => {
      const client = ours.ctr(namespace);
      const pushed = `${registry.host}/test/client:v1`;
      await client.ok('images', 'push', '--plain-http', pushed, source);
      await skopeo('inspect', '--tls-verify=false', `docker://${pushed}`);
      await client.ok('images', 'export', at('client.tar'), source);
      const { code, stderr } = await run('ctr', [
        '-a',
        ours.address,
        '-n',
        namespace,
        'images',
        'import',
        at('client.tar'),
      ]);
      assert.equal(code, 0, stderr);
    });
  });
});
