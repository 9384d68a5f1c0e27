import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { CredentialSource } from '../../kernel/contracts/credentials.js';
import type { Credentials, PullProgress, PushOptions } from '../../kernel/contracts/distribution.js';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { OCI_INDEX, OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../../test/harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../../test/harness/memory-snapshots.js';
import { addImage, addIndex, type ScriptedImage } from '../../test/hostile/images.js';
import { refuse, ScriptedRegistry } from '../../test/hostile/registry.js';
import { IMPATIENT } from '../../test/hostile/sessions.js';
import { RegistryDistribution } from './distribution.js';

const scope = { namespace: 'default' };
const CANARY = 'canary-push-5512';
const MEGABYTE = 1024 * 1024;

/** Two services that share what they hold and differ in how they upload. */
function world() {
  const leases = new MemoryLeases();
  const content = new MemoryContent(leases);
  const snapshots = new MemorySnapshots(leases, []);
  const sources = new Map<string, CredentialSource>();
  const services = { content, leases, snapshots, images: new MemoryImages(), diff: new MemoryDiff(snapshots) };
  const open = (uploadChunk: number) => {
    const common = {
      downloads: 3,
      downloadChunk: 0,
      hostsDirectories: [],
      userAgent: 'keelson/test',
      limits: IMPATIENT,
    };
    const settings = { ...common, uploadChunk };
    return new RegistryDistribution(
      { ...services, namespaces: memoryNamespaces(), credentials: sources },
      settings,
      pino({ level: 'silent' }),
    );
  };
  return { ...services, sources, whole: open(0), chunked: open(MEGABYTE) };
}

describe('a push', () => {
  let source: ScriptedRegistry;
  let registry: ScriptedRegistry;
  let image: ScriptedImage;
  let here = world();
  const repository = 'team/copy';

  before(async () => {
    source = await ScriptedRegistry.start();
    image = addImage(source, { tag: 'latest', layers: [randomBytes(3000), randomBytes(9.5 * MEGABYTE)] });
  });
  after(() => source[Symbol.asyncDispose]());
  afterEach(() => registry[Symbol.asyncDispose]());

  beforeEach(async () => {
    registry = await ScriptedRegistry.start();
    here = world();
    await here.whole.fetch(scope, `${source.host}/team/app:latest`);
  });

  const target = () => `${registry.host}/${repository}:v1`;
  const push = (options: PushOptions = {}, what: Descriptor = image.manifest, distribution = here.whole) =>
    distribution.push(scope, target(), what, options);

  /** Everything of the image is in the registry, byte for byte. */
  const assertPushed = () => {
    for (const { digest } of [image.config, ...image.layers]) {
      assert.deepEqual(registry.uploads.blob(digest), here.content.blobs.get(digest)?.bytes, digest);
    }
    const [put] = registry.seen(/PUT .*manifests\/v1/);
    assert.deepEqual(put?.bytes, here.content.blobs.get(image.manifest.digest)?.bytes);
    assert.equal(put?.headers['content-type'], OCI_MANIFEST);
    assert.deepEqual([...here.leases.held.keys()], []);
  };

  it('brings everything, the manifest last', async () => {
    const seen: PullProgress[] = [];
    assert.deepEqual(await push({ onProgress: (progress) => seen.push(progress) }), image.manifest);
    assertPushed();
    assert.match(registry.requests.at(-1)?.url ?? '', /manifests\/v1/);
    const layer = seen.filter(({ descriptor }) => descriptor?.digest === image.layers[1]?.digest);
    assert.equal(layer[0]?.event, 'waiting');
    assert.ok(layer.some(({ event, progress }) => event === 'uploading' && progress > 0));
    assert.equal(layer.at(-1)?.event, 'complete');
    assert.match(seen.at(-1)?.event ?? '', /^Completed push/);
  });

  it('sends nothing a second time', async () => {
    await push();
    registry.forget();
    await push();
    assert.equal(registry.seen(/POST/).length, 0);
    assert.equal(registry.seen(/PUT/).length, 1);
  });

  it('mounts what the registry has elsewhere', async () => {
    const [layer] = image.layers;
    const digest = layer?.digest ?? '';
    registry.addBlob(here.content.blobs.get(digest)?.bytes ?? Buffer.alloc(0));
    registry.uploads.mountable.add(`other/base ${digest}`);
    const label = `containerd.io/distribution.source.${registry.host.replace(/:\d+$/, '')}`;
    await here.content.update(scope, digest, { [label]: `absent/one,other/base` }, [`labels.${label}`]);
    registry.script(new RegExp(`HEAD .*${digest}`), (response) => response.writeHead(404).end());
    registry.script(/from=absent/, (response) => refuse(response, 403, 'DENIED', 'not yours'));
    await push();
    assert.deepEqual(
      registry.seen(/POST .*mount=.*from=(absent|other)/).map(({ url }) => /from=(.*)/.exec(url)?.[1]),
      ['absent%2Fone', 'other%2Fbase'],
    );
    assert.equal(registry.seen(/PUT .*blobs/).length, 2);
  });

  it('goes in chunks where it is told to', async () => {
    await push({}, image.manifest, here.chunked);
    assertPushed();
    const chunks = registry.seen(/PATCH/);
    assert.equal(chunks.length, 10);
    assert.match(chunks[1]?.headers['content-range'] ?? '', /^1048576-2097151$/);
    assert.ok(chunks.every(({ url }) => url.includes('_state=a%2Fb')));
  });

  it('takes chunks no smaller than the registry wants', async () => {
    registry.script(
      /POST/,
      (response, _request, normal) => {
        response.setHeader('oci-chunk-min-length', String(4 * MEGABYTE));
        normal();
      },
      9,
    );
    await push({}, image.manifest, here.chunked);
    assertPushed();
    assert.equal(registry.seen(/PATCH/).length, 3);
  });

  it('goes on in chunks after a broken connection, from where it was', async () => {
    registry.script(/PUT .*blobs/, (_response, request) => request.socket.resetAndDestroy(), 3);
    registry.script(/PATCH/, (_response, request) => request.socket.resetAndDestroy());
    registry.script(/PATCH/, (_response, _request, normal) => normal());
    await push();
    assertPushed();
    assert.ok(registry.seen(/PATCH/).length >= 2);
  });

  it('asks how far it got when a chunk was lost', async () => {
    registry.script(/PATCH/, (_response, _request, normal) => normal());
    registry.script(/PATCH/, (_response, request) => request.socket.resetAndDestroy());
    await push({}, image.manifest, here.chunked);
    assertPushed();
    assert.equal(registry.seen(/GET .*uploads/).length, 1);
    assert.equal(registry.seen(/PATCH/).length, 11);
  });

  it('begins anew when the registry has forgotten the upload', async () => {
    registry.script(/PATCH/, (_response, _request, normal) => normal());
    registry.script(/PATCH/, (_response, request) => request.socket.resetAndDestroy());
    registry.script(/GET .*uploads/, (response) => refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN', 'gone'));
    await push({}, image.manifest, here.chunked);
    assertPushed();
  });

  it('goes in one request where chunks are not taken', async () => {
    registry.script(/PATCH/, (response) => refuse(response, 405, 'UNSUPPORTED', 'no chunks'), 9);
    await push({}, image.manifest, here.chunked);
    assertPushed();
    assert.equal(registry.seen(/PATCH/).length, 1);
  });

  it('waits as long as it is asked to, and tries again', async () => {
    registry.script(/PUT .*manifests/, (response) =>
      refuse(response, 429, 'TOOMANYREQUESTS', 'slowly', { 'retry-after': '1' }),
    );
    const started = performance.now();
    await push();
    assert.ok(performance.now() - started >= 1000);
    assertPushed();
  });

  it('follows a redirect of an upload, without credentials', async () => {
    await using storage = await ScriptedRegistry.start();
    const credentials = async (): Promise<Credentials> => ({ kind: 'password', username: 'me', secret: CANARY });
    registry.script(
      /POST/,
      (response, { headers }, normal) => {
        if (headers.authorization === undefined) {
          refuse(response, 401, 'UNAUTHORIZED', 'who?', { 'www-authenticate': 'Basic realm="r"' });
        } else normal();
      },
      99,
    );
    registry.script(/PUT .*blobs/, (response, { url }) =>
      response.writeHead(307, { location: `${storage.url}/put${url}` }).end(),
    );
    storage.script(/PUT/, (response) => response.writeHead(201).end());
    await push({ credentials });
    const [put] = storage.requests;
    assert.ok(put && put.bytes.length > 0);
    assert.ok(!JSON.stringify([put.headers, put.url]).includes(Buffer.from(`me:${CANARY}`).toString('base64')));
    assert.equal(put.headers.authorization, undefined);
  });

  it('puts bytes where the registry says, without credentials when that is elsewhere', async () => {
    await using storage = await ScriptedRegistry.start();
    const credentials = async (): Promise<Credentials> => ({ kind: 'header', value: `Custom ${CANARY}` });
    registry.script(
      /POST/,
      (response, { headers }) => {
        if (headers.authorization === undefined) {
          refuse(response, 401, 'UNAUTHORIZED', 'who?', { 'www-authenticate': 'Basic realm="r"' });
        } else response.writeHead(202, { location: `${storage.url}/up?signature=x` }).end();
      },
      99,
    );
    storage.script(/PUT/, (response) => response.writeHead(201).end(), 9);
    await push({ credentials, headers: { 'x-key': CANARY } });
    assert.equal(storage.requests.length, 3);
    assert.ok(!JSON.stringify(storage.requests.map(({ headers, url }) => [headers, url])).includes(CANARY));
    assert.match(storage.requests[0]?.url ?? '', /^\/up\?signature=x&digest=sha256%3A/);
  });

  it('asks for tokens that reach far enough', async () => {
    const label = `containerd.io/distribution.source.${registry.host.replace(/:\d+$/, '')}`;
    await here.content.update(scope, image.layers[0]?.digest ?? '', { [label]: 'other/base' }, [`labels.${label}`]);
    registry.script(
      /v2/,
      (response, { headers }, normal) => {
        if (headers.authorization === 'Bearer t') normal();
        else {
          const challenge = `Bearer realm="${registry.url}/token",service="s",scope="repository:${repository}:push,pull"`;
          refuse(response, 401, 'UNAUTHORIZED', 'who?', { 'www-authenticate': challenge });
        }
      },
      99,
    );
    registry.script(/token/, (response) => response.end('{"token":"t"}'), 9);
    await push();
    const [asked] = registry.seen(/token/);
    assert.deepEqual(new URL(asked?.url ?? '', 'http://x').searchParams.getAll('scope'), [
      'repository:other/base:pull',
      'repository:team/app:pull',
      `repository:${repository}:pull,push`,
    ]);
    assertPushed();
  });

  it('of an index brings all of it, or the one image that is wanted', async () => {
    const other = addImage(source, {
      layers: [randomBytes(100)],
      platform: { os: 'linux', architecture: 's390x' },
    });
    const entries = [
      { ...image.manifest, platform: hostPlatform() },
      { ...other.manifest, platform: { os: 'linux', architecture: 's390x' } },
    ];
    const index = addIndex(source, 'both', entries);
    await here.whole.fetch(scope, `${source.host}/team/app:both`);
    await assert.rejects(push({}, index), {
      code: 'NOT_FOUND',
      message: /linux\/s390x.*is not here; name the platforms/,
    });
    const one = await push({ platforms: [hostPlatform()] }, index);
    assert.equal(one.digest, image.manifest.digest);
    await here.whole.fetch(scope, `${source.host}/team/app:both`, { platforms: 'all' });
    assert.deepEqual(await push({}, index), index);
    assert.equal(registry.seen(/PUT .*manifests\/v1/).at(-1)?.headers['content-type'], OCI_INDEX);
    await assert.rejects(push({ platforms: [{ os: 'plan9', architecture: 'mips' }] }, index), { code: 'NOT_FOUND' });
  });

  for (const [name, digest] of [
    ['another digest', 'sha256:'.padEnd(71, '0')],
    ['nonsense', 'x'],
  ] as const) {
    it(`fails when the registry says it has stored ${name}`, async () => {
      registry.script(
        /PUT .*manifests/,
        (response) => response.writeHead(201, { 'docker-content-digest': digest }).end(),
        9,
      );
      await assert.rejects(push(), { code: 'FAILED_PRECONDITION', message: /says that it has stored/ });
      assert.deepEqual([...here.leases.held.keys()], []);
    });
  }

  it('fails with the words of the registry, and never with a secret', async () => {
    registry.script(/PUT .*manifests/, (response, { headers }) =>
      refuse(response, 403, 'DENIED', `no: ${headers['x-key']}`),
    );
    await assert.rejects(push({ headers: { 'x-key': CANARY } }), (error) => {
      assert.ok(error instanceof Error && /answered 403: no: \[redacted\]/.test(error.message), String(error));
      return true;
    });
  });

  it('asks the sources of credentials where the caller has none', async () => {
    const asked: string[] = [];
    here.sources.set('b', { find: async () => ({ kind: 'header', value: 'Custom b' }) });
    here.sources.set('a', { find: async ({ host }) => void asked.push(host) });
    registry.script(
      /v2/,
      (response, { headers }, normal) => {
        if (headers.authorization === 'Custom b') normal();
        else refuse(response, 401, 'UNAUTHORIZED', 'who?', { 'www-authenticate': 'Basic realm="r"' });
      },
      99,
    );
    await push({ credentials: async () => undefined });
    assertPushed();
    assert.deepEqual(asked, [registry.host]);
    const own = async (): Promise<Credentials> => ({ kind: 'header', value: 'Custom own' });
    await assert.rejects(push({ credentials: own }), { code: 'UNAUTHENTICATED' });
  });

  it('fails when a part of it is not here', async () => {
    here.content.blobs.delete(image.layers[0]?.digest ?? '');
    await assert.rejects(push(), { code: 'NOT_FOUND', message: /belongs to the image, but is not here/ });
    assert.equal(registry.requests.length, 0);
  });

  it('fails when bytes on the disk are no longer what they were', async () => {
    const digest = image.layers[0]?.digest ?? '';
    const blob = here.content.blobs.get(digest);
    here.content.blobs.set(digest, { labels: {}, bytes: randomBytes(blob?.bytes.length ?? 0) });
    await assert.rejects(push(), { message: /DIGEST_INVALID|did not match/ });
  });

  it('under a digest wants that digest', async () => {
    const wrong = `${registry.host}/${repository}@${image.config.digest}`;
    await assert.rejects(here.whole.push(scope, wrong, image.manifest), { code: 'INVALID_ARGUMENT' });
    const right = `${registry.host}/${repository}@${image.manifest.digest}`;
    assert.deepEqual(await here.whole.push(scope, right, image.manifest), image.manifest);
  });

  it('ends with its caller', async () => {
    const controller = new AbortController();
    registry.script(/PUT .*blobs/, () => controller.abort(), 9);
    const pushing = here.whole.push({ ...scope, signal: controller.signal }, target(), image.manifest);
    await assert.rejects(pushing, { code: 'CANCELED' });
    assert.deepEqual([...here.leases.held.keys()], []);
  });

  describe('of a manifest with a subject', () => {
    const signature = (type: string) => {
      const empty = source.addBlob(Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
      const document = {
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        artifactType: type,
        config: empty,
        layers: [empty],
        subject: image.manifest,
        annotations: { made: 'here' },
      };
      return source.addManifest(document, OCI_MANIFEST, type.replaceAll(/\W/g, ''));
    };
    const referrers = (artifactType?: string) =>
      here.whole.referrers(scope, `${registry.host}/${repository}@${image.manifest.digest}`, {
        ...(artifactType ? { artifactType } : {}),
      });

    it('keeps the list where the registry does not', async () => {
      for (const type of ['test/signature', 'test/sbom']) {
        const made = signature(type);
        await here.whole.fetch(scope, `${source.host}/team/app:${type.replaceAll(/\W/g, '')}`);
        await here.whole.push(scope, `${registry.host}/${repository}@${made.digest}`, made);
        await here.whole.push(scope, `${registry.host}/${repository}@${made.digest}`, made);
      }
      const all = await referrers();
      assert.deepEqual(
        all.map(({ artifactType }) => artifactType),
        ['test/signature', 'test/sbom'],
      );
      assert.equal(all[0]?.annotations?.made, 'here');
      assert.equal((await referrers('test/sbom')).length, 1);
    });

    it('leaves the list to a registry that keeps it, and reads it page by page', async () => {
      const made = signature('test/signature');
      await here.whole.fetch(scope, `${source.host}/team/app:testsignature`);
      registry.script(/PUT .*manifests/, (response, _request, normal) => {
        response.setHeader('oci-subject', image.manifest.digest);
        normal();
      });
      await here.whole.push(scope, `${registry.host}/${repository}@${made.digest}`, made);
      assert.equal(registry.seen(/PUT .*manifests/).length, 1);
      const page = (entries: readonly unknown[]) => JSON.stringify({ schemaVersion: 2, manifests: entries });
      registry.script(/GET .*referrers\/sha256[^?]*$/, (response) => {
        response.writeHead(200, { 'content-type': OCI_INDEX, link: '<?page=2>; rel="next"' });
        response.end(page([{ ...made, artifactType: 'a/b' }]));
      });
      registry.script(/GET .*page=2/, (response) => {
        response.writeHead(200, { link: '<http://127.0.0.2:1/x>; rel="next"' });
        response.end(page([{ ...image.manifest, artifactType: 'c/d' }]));
      });
      assert.deepEqual(
        (await referrers()).map(({ artifactType }) => artifactType),
        ['a/b', 'c/d'],
      );
      assert.deepEqual(await referrers(), []);
      registry.script(/referrers/, (response) => response.writeHead(200).end('{"schemaVersion":2,"layers":[]}'));
      await assert.rejects(referrers(), { code: 'INVALID_ARGUMENT' });
    });
  });
});
