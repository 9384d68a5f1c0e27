/**
 * Whole pulls from registries that abuse them: numbers are those of the attack
 * and fault corpora (docs/reliability.md). What concerns one request alone is
 * tested beside the registry client.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Credentials, PullOptions } from '../../kernel/contracts/distribution.js';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { RegistryDistribution } from '../../plugins/distribution/distribution.js';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../harness/memory-snapshots.js';
import { addImage, LAYER, type ScriptedImage } from './images.js';
import { refuse, ScriptedRegistry } from './registry.js';
import { IMPATIENT } from './sessions.js';

const scope = { namespace: 'default' };
const unpack = [{}];
const CANARY = 'canary-c7d1e0';
const MEGABYTE = 1024 * 1024;
const basic = (secret: string): string => `Basic ${Buffer.from(`me:${secret}`).toString('base64')}`;

/** Everything the daemon would log, at its most talkative. */
function journal() {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  return { lines, log: pino({ level: 'trace' }, stream) };
}

function world() {
  const leases = new MemoryLeases();
  const content = new MemoryContent(leases);
  const images = new MemoryImages();
  const snapshots = new MemorySnapshots(leases, ['rebase']);
  const services = { content, images, leases, snapshots, diff: new MemoryDiff(snapshots) };
  const { lines, log } = journal();
  const settings = {
    downloads: 3,
    downloadChunk: 0,
    hostsDirectories: [],
    userAgent: 'keelson',
    uploadChunk: 0,
    limits: IMPATIENT,
  };
  const distribution = new RegistryDistribution({ ...services, namespaces: memoryNamespaces() }, settings, log);
  return { ...services, lines, distribution };
}

type World = ReturnType<typeof world>;

function assertClean({ content, images, leases, snapshots }: World): void {
  assert.deepEqual([...content.ingests.keys()], []);
  assert.deepEqual(snapshots.unfinished(), []);
  assert.deepEqual([...leases.held.keys()], []);
  assert.deepEqual([...images.images.keys()], []);
}

describe('a hostile registry', () => {
  let registry: ScriptedRegistry;
  /** Where nobody has any business; whatever it sees is kept. */
  let foreign: ScriptedRegistry;
  let image: ScriptedImage;
  let reference: string;

  before(async () => {
    registry = await ScriptedRegistry.start();
    foreign = await ScriptedRegistry.start();
    image = addImage(registry, { tag: 'latest', layers: [randomBytes(3000), randomBytes(MEGABYTE)] });
    reference = `${registry.host}/team/app:latest`;
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await foreign[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    registry.forget();
    foreign.forget();
  });

  const assertNothingForeign = () => {
    const seen = JSON.stringify(foreign.requests.map(({ url, headers, body }) => [url, headers, body]));
    for (const secret of [CANARY, basic(CANARY).slice(6)]) assert.ok(!seen.includes(secret));
  };

  const publish = (document: unknown, mediaType: string, tag: string): string => {
    registry.addManifest(document, mediaType, tag);
    return `${registry.host}/team/app:${tag}`;
  };

  describe('29: documents of two kinds', () => {
    for (const type of [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST]) {
      for (const extra of ['both', 'another name', 'old'] as const) {
        it(`are refused as ${type.replace(/.*vnd\./, '')}: ${extra}`, async () => {
          const isManifest = type === OCI_MANIFEST || type === DOCKER_MANIFEST;
          const parts = isManifest ? { config: image.config, layers: image.layers } : { manifests: [image.manifest] };
          const others = {
            both: isManifest ? { manifests: [image.manifest] } : { config: image.config, layers: image.layers },
            'another name': { mediaType: isManifest ? OCI_INDEX : OCI_MANIFEST },
            old: { fsLayers: [] },
          };
          const here = world();
          const text = publish({ schemaVersion: 2, ...parts, ...others[extra] }, type, `mixed-${extra.slice(0, 4)}`);
          await assert.rejects(here.distribution.pull(scope, text, { unpack }), { code: 'INVALID_ARGUMENT' });
          assertClean(here);
          assert.equal(registry.seen(/blobs/).length, 0);
        });
      }
    }
  });

  it('30: digests that are none are refused before anything is asked for', async () => {
    for (const digest of [
      'sha256:../../../etc/shadow',
      `sha256:${'A'.repeat(64)}`,
      'sha256:abc',
      `md5:${'0'.repeat(32)}`,
      '',
      `sha256:${'0'.repeat(63)}/`,
    ]) {
      const here = world();
      const layers = [{ mediaType: LAYER, digest, size: 5 }];
      const text = publish({ schemaVersion: 2, config: image.config, layers }, OCI_MANIFEST, 'digest');
      registry.forget();
      await assert.rejects(here.distribution.pull(scope, text, { unpack }), { code: 'INVALID_ARGUMENT' });
      assert.ok(
        registry.requests.every(({ url }) => /^\/v2\/team\/app\/manifests\/(digest|sha256:[0-9a-f]{64})$/.test(url)),
      );
      assertClean(here);
    }
  });

  it('32: sizes that are none, and keys of prototypes, change nothing', async () => {
    for (const size of ['-1', '9223372036854775808', '1e400', '"5"', '5.5', 'null', '[]']) {
      const here = world();
      const layer = `{"mediaType":"${LAYER}","digest":"${image.layers[0]?.digest}","size":${size}}`;
      const config = JSON.stringify(image.config);
      const document = Buffer.from(
        `{"schemaVersion":2,"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"config":${config},"layers":[${layer}]}`,
      );
      await assert.rejects(here.distribution.pull(scope, publish(document, OCI_MANIFEST, 'size'), { unpack }), {
        code: 'INVALID_ARGUMENT',
      });
      assertClean(here);
    }
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  it('32, 34: too many layers, entries or levels are refused', async () => {
    const many = Array.from({ length: 5000 }, () => image.manifest);
    const layers = Array.from({ length: 2000 }, () => image.layers[0]);
    const nested = Buffer.from(`{"schemaVersion":2,"config":${'['.repeat(50_000)}`);
    const patient = world();
    for (const [document, type] of [
      [{ schemaVersion: 2, manifests: many }, OCI_INDEX],
      [{ schemaVersion: 2, config: image.config, layers }, OCI_MANIFEST],
      [nested, OCI_MANIFEST],
    ] as const) {
      const failing = patient.distribution.pull(scope, publish(document, type, 'many'), { unpack });
      await assert.rejects(failing, (error) => {
        assert.ok(error instanceof Error && 'code' in error);
        assert.ok(error.code === 'INVALID_ARGUMENT' || error.code === 'RESOURCE_EXHAUSTED', error.message);
        return true;
      });
      assertClean(patient);
    }
  });

  it('33: endless bodies take no memory', async () => {
    const flood = (status: number, type: string) => {
      const chunk = Buffer.alloc(MEGABYTE, 'x');
      registry.script(
        /./,
        (response) => {
          response.writeHead(status, { 'content-type': type });
          response.on('error', () => {});
          let left = 300;
          const more = () => {
            while (left-- > 0) if (!response.write(chunk)) return void response.once('drain', more);
            response.end();
          };
          more();
        },
        20,
      );
    };
    const here = world();
    const before = process.memoryUsage().rss;
    for (const [status, type] of [
      [200, OCI_MANIFEST],
      [404, 'application/json'],
      [403, 'text/plain'],
    ] as const) {
      registry.forget();
      flood(status, type);
      await assert.rejects(here.distribution.pull(scope, `${registry.host}/team/app:flood`, { unpack }));
    }
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 96 * MEGABYTE, `${Math.round(grown / MEGABYTE)} MiB, of 900 that were sent`);
    assertClean(here);
  });

  it('36: other places that a layer names are never asked', async () => {
    const layer = { ...image.layers[0], digest: `sha256:${'1'.repeat(64)}` };
    for (const url of [`${foreign.url}/layer`, 'http://169.254.169.254/latest', 'file:///etc/shadow', 'unix:///x']) {
      const here = world();
      const layers = [{ ...layer, urls: [url] }, image.layers[1]];
      const text = publish({ schemaVersion: 2, config: image.config, layers }, OCI_MANIFEST, 'urls');
      await assert.rejects(here.distribution.pull(scope, text, { unpack }), { code: 'NOT_FOUND' });
      assertClean(here);
    }
    assert.equal(foreign.requests.length, 0);
  });

  it('42: a blob is no substitute for a manifest that the registry fails to give', async () => {
    const here = world();
    registry.script(/GET .*manifests/, (response) => refuse(response, 500, 'X', 'broken'), 50);
    await assert.rejects(here.distribution.pull(scope, reference, { unpack }), { code: 'UNAVAILABLE' });
    assert.equal(registry.seen(/blobs/).length, 0);
    assert.equal(here.content.blobs.size, 0);
    assertClean(here);
  });

  it('43: references that are none reach nobody', async () => {
    const here = world();
    for (const text of [
      `${registry.host}/../../x:y`,
      '://',
      'h:99999/x:y',
      `${registry.host}/${'a'.repeat(10_000)}:t`,
      `${registry.host}/a\n/b:t`,
      `me:${CANARY}@${registry.host}/a:t`,
      `${registry.host}/a:t?x=y`,
    ]) {
      await assert.rejects(here.distribution.pull(scope, text, { unpack }), { code: 'INVALID_ARGUMENT' }, text);
    }
    assert.equal(registry.requests.length, 0);
  });

  describe('37, 38, 54: secrets', () => {
    const credentials = async (): Promise<Credentials> => ({ kind: 'password', username: 'me', secret: CANARY });

    /** Pulls and pushes whatever the scripts make of it; the secret is then nowhere but at the registry. */
    async function everythingSaid(options: PullOptions = {}): Promise<void> {
      const here = world();
      const said: string[] = [];
      const onProgress = (progress: unknown) => void said.push(JSON.stringify(progress));
      const access = { credentials, headers: { 'x-key': CANARY }, ...options };
      const told = (error: unknown) => {
        for (let at: unknown = error; at instanceof Error; at = at.cause) said.push(`${at.message} ${at.stack}`);
      };
      await here.distribution.pull(scope, reference, { unpack, onProgress, ...access }).catch(told);
      await here.distribution.fetch(scope, reference).catch(told);
      await here.distribution.push(scope, reference, image.manifest, { onProgress, ...access }).catch(told);
      await here.distribution.stop();
      const records = JSON.stringify([...here.images.images.values(), ...here.content.blobs.values()], (_key, value) =>
        typeof value === 'bigint' ? String(value) : value,
      );
      for (const text of [...said, ...here.lines, records]) {
        assert.ok(!text.includes(CANARY), text);
        assert.ok(!text.includes(basic(CANARY).slice(6)), text);
      }
      assertNothingForeign();
    }

    const guarded = (challenge: () => string, times = 2) =>
      registry.script(
        /v2/,
        (response, _request) => refuse(response, 401, 'X', `no: ${CANARY}`, { 'www-authenticate': challenge() }),
        times,
      );

    it('are told by no echo', async () => {
      guarded(() => 'Basic realm="r"', 1);
      registry.script(
        /v2/,
        (response, { headers }) => refuse(response, 403, 'DENIED', `${headers.authorization} ${headers['x-key']}`),
        50,
      );
      await everythingSaid();
    });

    for (const status of [301, 302, 303, 307, 308]) {
      it(`go nowhere with a ${status}`, async () => {
        guarded(() => 'Basic realm="r"', 1);
        registry.script(
          /(GET|PUT|POST|PATCH) /,
          (response, { url }) => response.writeHead(status, { location: `${foreign.url}${url}` }).end(),
          50,
        );
        foreign.script(
          /./,
          (response) => refuse(response, 401, 'X', 'y', { 'www-authenticate': 'Basic realm="give"' }),
          50,
        );
        await everythingSaid();
      });
    }

    it('go to the token server alone, and its token to the registry alone', async () => {
      guarded(() => `Bearer realm="${foreign.url}/token",service="s"`, 1);
      foreign.script(/token/, (response) => response.end(JSON.stringify({ token: 'token-9921' })), 50);
      registry.script(
        /blobs/,
        (response, { url }) => response.writeHead(302, { location: `${foreign.url}${url}?x=1` }).end(),
        50,
      );
      const here = world();
      await here.distribution.pull(scope, reference, { credentials }).catch(() => {});
      const others = foreign.seen(/blobs/);
      assert.ok(others.length > 0);
      for (const { headers, url } of others) {
        const text = JSON.stringify([headers, url]);
        assert.ok(!text.includes('token-9921') && !text.includes(basic(CANARY).slice(6)));
      }
    });

    it('of a redirect, an upload address or a realm are not told either', async () => {
      registry.script(
        /GET /,
        (response) => response.writeHead(302, { location: `http://u:${CANARY}@127.0.0.1:1/x?token=${CANARY}` }).end(),
        50,
      );
      registry.script(
        /POST /,
        (response) => response.writeHead(202, { location: `http://u:${CANARY}@127.0.0.1:1/up?token=${CANARY}` }).end(),
        50,
      );
      await everythingSaid();
      registry.forget();
      guarded(() => `Bearer realm="http://u:${CANARY}@127.0.0.1:1/token?token=${CANARY}",service="s"`, 50);
      await everythingSaid();
    });
  });

  it('40: ranges that do not fit are never put together', async () => {
    const { digest = '' } = image.layers[1] ?? {};
    const whole = image.blobs[1] ?? Buffer.alloc(0);
    const here = world();
    registry.script(new RegExp(`GET .*${digest}`), (response, request) => {
      response.writeHead(200, { 'content-length': whole.length });
      response.write(whole.subarray(0, 400_000), () => setImmediate(() => request.socket.resetAndDestroy()));
    });
    registry.script(
      new RegExp(`GET .*${digest}`),
      (response, { headers }) => {
        const start = Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
        const part = whole.subarray(start);
        response.writeHead(206, {
          'content-length': part.length,
          'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}`,
        });
        // The right length at the right place, and other bytes.
        response.end(Buffer.alloc(part.length));
      },
      50,
    );
    await assert.rejects(here.distribution.pull(scope, reference, { unpack }), Error);
    assert.ok(!here.content.blobs.has(digest));
    assertClean(here);
    registry.forget();
    await here.distribution.pull(scope, reference, { unpack });
    assert.deepEqual(here.snapshots.chain(image.chainId), image.diffIds);
  });

  it('fault 31: a pull that waits for a silent peer is not lost with it', async () => {
    const here = world();
    const { digest = '' } = image.layers[1] ?? {};
    registry.script(new RegExp(`GET .*${digest}`), (response) => void response.writeHead(200).write('x'), 5);
    const controller = new AbortController();
    const first = here.distribution.pull({ ...scope, signal: controller.signal }, reference, { unpack });
    const second = here.distribution.pull(scope, reference, { unpack, names: ['second'] });
    const outcomes = await Promise.allSettled([first, second]);
    assert.ok(
      outcomes.some(({ status }) => status === 'fulfilled'),
      'once the registry answers again, whoever is left succeeds',
    );
    assert.deepEqual(here.snapshots.unfinished(), []);
  });

  it('fault 33: a token that expires between layers is fetched once more, unseen', async () => {
    const here = world();
    let valid = 1;
    registry.script(
      /v2/,
      (response, { headers, url }, normal) => {
        if (headers.authorization === `Bearer t${valid}`) {
          if (url?.includes(image.config.digest)) valid = 2;
          normal();
          return;
        }
        const challenge = `Bearer realm="${registry.url}/token",service="s",error="invalid_token"`;
        refuse(response, 401, 'UNAUTHORIZED', 'expired', { 'www-authenticate': challenge });
      },
      100,
    );
    registry.script(/token/, (response) => response.end(JSON.stringify({ token: `t${valid}` })), 10);
    await here.distribution.pull(scope, reference, { unpack });
    assert.equal(registry.seen(/token/).length, 2);
  });
});
