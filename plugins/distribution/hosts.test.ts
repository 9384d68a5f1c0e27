/** hosts.toml on whole pulls and pushes: mirrors over TLS, read again each time. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../../test/harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../../test/harness/memory-snapshots.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { type Certificates, makeCertificates } from '../../test/hostile/certificates.js';
import { addImage, type ScriptedImage } from '../../test/hostile/images.js';
import { refuse, ScriptedRegistry } from '../../test/hostile/registry.js';
import { IMPATIENT } from '../../test/hostile/sessions.js';
import { RegistryDistribution } from './distribution.js';

const scope = { namespace: 'default' };

describe('hosts.toml', () => {
  let directory: Scratch;
  let keys: Certificates;
  /** Wants a client certificate. */
  let mirror: ScriptedRegistry;
  let registry: ScriptedRegistry;
  let image: ScriptedImage;
  let reference: string;

  before(async () => {
    directory = await scratch('hosts');
    keys = await makeCertificates();
    mirror = await ScriptedRegistry.start({ ...keys.server, clientCa: keys.authority });
    registry = await ScriptedRegistry.start(keys.server);
    const layers = [randomBytes(2000)];
    image = addImage(mirror, { tag: 'v1', layers });
    for (const blob of image.blobs) registry.addBlob(blob);
    reference = `registry.example/team/app:v1`;
    for (const [name, text] of [
      ['ca.pem', keys.authority],
      ['client.cert', keys.client.cert],
      ['client.key', keys.client.key],
    ] as const) {
      await mkdir(join(directory.path, 'registry.example'), { recursive: true });
      await writeFile(join(directory.path, 'registry.example', name), text);
    }
  });
  after(async () => {
    await mirror[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    mirror.forget();
    registry.forget();
  });

  const configure = (text: string) => writeFile(join(directory.path, 'registry.example/hosts.toml'), text);
  const mirrorTable = (more = '') => `
    [host."${mirror.url}/cache/v2"]
    ca = "ca.pem"
    client = [["client.cert", "client.key"]]
    ${more}
    [host."${mirror.url}/cache/v2".header]
    x-from = ["here"]
  `;

  function world() {
    const leases = new MemoryLeases();
    const content = new MemoryContent(leases);
    const snapshots = new MemorySnapshots(leases, []);
    const services = { content, leases, snapshots, images: new MemoryImages(), diff: new MemoryDiff(snapshots) };
    const settings = {
      downloads: 3,
      hostsDirectories: [directory.path],
      userAgent: 'keelson/test',
      downloadChunk: 0,
      uploadChunk: 0,
      limits: IMPATIENT,
    };
    const all = { ...services, namespaces: memoryNamespaces() };
    return { content, distribution: new RegistryDistribution(all, settings, pino({ level: 'silent' })) };
  }

  it('sends a pull to the mirror, with its certificate, its header and the name it stands for', async () => {
    await configure(`server = "${registry.url}"\n${mirrorTable('override_path = true')}`);
    const { distribution } = world();
    // Below a path of its own, which the scripted registry does not have.
    const normally = /\/cache/;
    mirror.script(
      normally,
      (response, request, normal) => {
        request.url = request.url?.replace('/cache', '') ?? '';
        void response;
        normal();
      },
      50,
    );
    assert.deepEqual(await distribution.fetch(scope, reference), image.manifest);
    assert.ok(mirror.requests.length >= 4);
    for (const { url, headers } of mirror.requests) {
      assert.match(url, /^\/cache\/v2\/team\/app\/.*[?&]ns=registry\.example$/);
      assert.equal(headers['x-from'], 'here');
    }
    assert.equal(registry.requests.length, 0);
  });

  it('is read again by the next call, with no restart', async () => {
    const { distribution } = world();
    await configure(`server = "${registry.url}"\nca = "ca.pem"`);
    await assert.rejects(distribution.resolve(scope, reference), { code: 'NOT_FOUND' });
    assert.equal(registry.requests.length, 1);
    assert.match(registry.requests[0]?.url ?? '', /^\/v2\/team\/app\/manifests\/v1\?ns=registry\.example$/);
    await configure(`server = "${mirror.url}"\nca = "ca.pem"\nclient = [["client.cert", "client.key"]]`);
    assert.deepEqual((await distribution.resolve(scope, reference)).descriptor, image.manifest);
    await configure('server = 5');
    await assert.rejects(distribution.resolve(scope, reference), { code: 'INVALID_ARGUMENT', message: /hosts\.toml/ });
    await rm(join(directory.path, 'registry.example/hosts.toml'));
  });

  it('goes on to the server when a mirror is not trusted, fails or is slow to connect', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as AddressInfo;
    await configure(`
      server = "${mirror.url}"
      ca = "ca.pem"
      client = [["client.cert", "client.key"]]
      [host."${registry.url}"]
      [host."https://127.0.0.1:${port}"]
      dial_timeout = "200ms"
    `);
    const { distribution } = world();
    const started = performance.now();
    try {
      assert.deepEqual((await distribution.resolve(scope, reference)).descriptor, image.manifest);
      const took = performance.now() - started;
      assert.ok(took >= 190 && took < 1500, `${took}`);
      assert.equal(registry.requests.length, 0, 'nobody talks to whom it does not trust');
    } finally {
      silent.close();
    }
  });

  it('skips verification only where it is told to', async () => {
    await configure(`server = "${registry.url}"\nskip_verify = true`);
    await assert.rejects(world().distribution.resolve(scope, reference), { code: 'NOT_FOUND' });
    await configure(`server = "${registry.url}"`);
    await assert.rejects(world().distribution.resolve(scope, reference), { code: 'UNAVAILABLE', message: /TLS/ });
  });

  it('asks hosts for what they can do only', async () => {
    await configure(`
      server = "${registry.url}"
      ca = "ca.pem"
      ${mirrorTable('capabilities = ["pull"]').replaceAll('/cache/v2', '')}
    `);
    const asked: string[] = [];
    registry.addManifest({ mediaType: 'x' }, image.manifest.mediaType, 'other');
    registry.script(
      /v2/,
      (response, { headers }, normal) => {
        if (headers.authorization === `Custom for ${registry.host}`) normal();
        else refuse(response, 401, 'X', 'who?', { 'www-authenticate': 'Basic realm="r"' });
      },
      50,
    );
    const credentials = async ({ host }: { readonly host: string }) => {
      asked.push(host);
      return { kind: 'header' as const, value: `Custom for ${host}` };
    };
    const { distribution } = world();
    await assert.rejects(distribution.fetch(scope, reference, { credentials }), { code: 'NOT_FOUND' });
    assert.equal(mirror.requests.length, 0, 'a mirror that cannot resolve is not asked to');
    assert.deepEqual(asked, [registry.host]);
  });

  it('pushes to the first host that may be pushed to', async () => {
    await configure(`
      server = "${registry.url}"
      ca = "ca.pem"
      ${mirrorTable('capabilities = ["pull", "resolve"]').replaceAll('/cache/v2', '')}
    `);
    const { distribution } = world();
    await distribution.fetch(scope, reference);
    mirror.forget();
    await distribution.push(scope, 'registry.example/team/copy:v2', image.manifest);
    assert.equal(registry.seen(/PUT .*\/v2\/team\/copy\/manifests\/v2/).length, 1);
    assert.equal(mirror.requests.length, 0);
    await configure(`server = "${registry.url}"\ncapabilities = ["pull"]`);
    await assert.rejects(distribution.push(scope, 'registry.example/team/copy:v2', image.manifest), {
      code: 'FAILED_PRECONDITION',
      message: /can push/,
    });
  });
});
