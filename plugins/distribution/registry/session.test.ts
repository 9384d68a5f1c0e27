import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { digestOf } from '../../../lib/digest.js';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../../lib/oci/media-types.js';
import { refuse, resetAfter, ScriptedRegistry } from '../../../test/hostile/registry.js';
import { IMPATIENT, never, openSession } from '../../../test/hostile/sessions.js';
import { defaultHost } from './host.js';

const OTHER = digestOf(Buffer.from('other'));

describe('a registry session', () => {
  let registry: ScriptedRegistry;
  const ref = (object: string) => `${registry.host}/team/app${object}`;

  before(async () => {
    registry = await ScriptedRegistry.start();
  });
  after(() => registry[Symbol.asyncDispose]());
  beforeEach(() => registry.forget());

  describe('resolving', () => {
    it('asks with HEAD only', async () => {
      const entry = registry.addManifest({ a: 1 }, OCI_MANIFEST, 'one');
      using open = openSession(ref(':one'));
      assert.deepEqual(await open.session.resolve(never), entry);
      assert.deepEqual(
        registry.requests.map(({ method, url }) => [method, url]),
        [['HEAD', '/v2/team/app/manifests/one']],
      );
      assert.match(registry.requests[0]?.headers.accept ?? '', /image\.index\.v1\+json.*manifest\.list\.v2\+json/);
      assert.equal(registry.requests[0]?.headers['accept-encoding'], 'identity');
    });

    it('asks with GET where HEAD is refused or says too little, and computes the digest itself', async () => {
      const entry = registry.addManifest({ a: 2 }, OCI_INDEX, 'two');
      registry.script(/^HEAD /, (response) => response.writeHead(405).end());
      registry.script(/^GET /, (response, _request, normal) => {
        response.setHeader('docker-content-digest', OTHER);
        normal();
      });
      using open = openSession(ref(':two'));
      assert.deepEqual(await open.session.resolve(never), entry);
      registry.script(/^HEAD /, (response) => response.writeHead(200, { 'content-type': OCI_INDEX }).end());
      assert.deepEqual(await open.session.resolve(never), entry);
    });

    it('never takes another digest than the one asked for', async () => {
      const entry = registry.addManifest({ a: 3 }, OCI_MANIFEST);
      const lie = { 'content-type': OCI_MANIFEST, 'content-length': 7, 'docker-content-digest': OTHER };
      registry.script(/^HEAD /, (response) => response.writeHead(200, lie).end());
      using open = openSession(ref(`@${entry.digest}`));
      await assert.rejects(open.session.resolve(never), { code: 'FAILED_PRECONDITION' });
      assert.deepEqual(await open.session.resolve(never), entry);
    });

    it('does not believe a lying HEAD once the bytes arrive', async () => {
      registry.addManifest({ a: 4 }, OCI_MANIFEST, 'four');
      const lie = { 'content-type': OCI_MANIFEST, 'content-length': 7, 'docker-content-digest': OTHER };
      registry.script(/^HEAD /, (response) => response.writeHead(200, lie).end());
      registry.script(/^GET /, (response) => response.writeHead(200, { 'content-type': OCI_MANIFEST }).end('{"a":4}'));
      using open = openSession(ref(':four'));
      const descriptor = await open.session.resolve(never);
      await assert.rejects(open.session.fetchDocument(descriptor, never), { code: 'FAILED_PRECONDITION' });
    });

    it('ignores a digest that is none', async () => {
      const entry = registry.addManifest({ a: 5 }, OCI_MANIFEST, 'five');
      for (const digest of ['sha256:../../x', 'sha256:ABC', '', 'md5:00']) {
        registry.script(/^HEAD /, (response) => {
          response.writeHead(200, {
            'content-type': OCI_MANIFEST,
            'content-length': 7,
            'docker-content-digest': digest,
          });
          response.end();
        });
        using open = openSession(ref(':five'));
        assert.deepEqual(await open.session.resolve(never), entry);
      }
    });

    for (const type of ['application/vnd.docker.distribution.manifest.v1+prettyjws', 'application/octet-stream', '']) {
      it(`refuses media type "${type}"`, async () => {
        registry.addManifest({ a: 6 }, type, 'six');
        using open = openSession(ref(':six'));
        await assert.rejects(open.session.resolve(never), { code: 'INVALID_ARGUMENT' });
      });
    }

    it('reports what is not there', async () => {
      using open = openSession(ref(':absent'));
      await assert.rejects(open.session.resolve(never), { code: 'NOT_FOUND', message: /team\/app:absent/ });
    });

    it('needs a tag or a digest', async () => {
      using open = openSession(ref(''));
      assert.throws(() => open.session.resolve(never), { code: 'INVALID_ARGUMENT' });
    });
  });

  describe('documents', () => {
    it('are looked for among the blobs only after a 404', async () => {
      const entry = registry.addManifest({ b: 1 }, OCI_MANIFEST);
      registry.script(/manifests/, (response) => refuse(response, 404, 'X', 'gone'));
      using open = openSession(ref(':t'));
      assert.equal((await open.session.fetchDocument(entry, never)).toString(), '{"b":1}');
      assert.equal(registry.seen(/blobs/).length, 1);

      registry.script(/manifests/, (response) => refuse(response, 500, 'X', 'broken'), 5);
      registry.requests.length = 0;
      await assert.rejects(open.session.fetchDocument(entry, never), { code: 'UNAVAILABLE', message: /500.*broken/ });
      assert.equal(registry.seen(/manifests/).length, 5);
      assert.equal(registry.seen(/blobs/).length, 0);
    });

    it('must have the digest and the size that were promised', async () => {
      const entry = registry.addManifest({ b: 2 }, OCI_MANIFEST);
      using open = openSession(ref(':t'));
      for (const body of ['{"b":3}', '{"b":2', '']) {
        registry.script(/manifests/, (response) => response.end(body));
        await assert.rejects(open.session.fetchDocument(entry, never), { code: 'FAILED_PRECONDITION' });
      }
      assert.equal((await open.session.fetchDocument(entry, never)).toString(), '{"b":2}');
    });

    it('are cut where they get too long', async () => {
      const entry = registry.addManifest({ b: 4 }, OCI_MANIFEST);
      let sent = 0;
      registry.script(/manifests/, (response) => {
        response.on('error', () => {});
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65536))) sent += 65536;
        };
        response.on('drain', more);
        more();
      });
      using open = openSession(ref(':t'));
      await assert.rejects(open.session.fetchDocument(entry, never), { code: 'RESOURCE_EXHAUSTED' });
      assert.ok(sent < 50_000_000, `${sent} bytes`);
    });

    it('are not even asked for when their descriptor is over the limit', () => {
      using open = openSession(ref(':t'));
      assert.throws(
        () => open.session.fetchDocument({ mediaType: OCI_MANIFEST, digest: OTHER, size: 100_001 }, never),
        {
          code: 'RESOURCE_EXHAUSTED',
        },
      );
    });

    it('may not change their kind', async () => {
      const entry = registry.addManifest({ b: 5 }, OCI_MANIFEST);
      for (const type of [OCI_INDEX, DOCKER_MANIFEST, 'application/vnd.docker.distribution.manifest.v1+json']) {
        registry.script(/manifests/, (response) => response.writeHead(200, { 'content-type': type }).end('{"b":5}'));
        using open = openSession(ref(':t'));
        await assert.rejects(open.session.fetchDocument(entry, never), { code: 'INVALID_ARGUMENT' });
      }
    });
  });

  describe('blobs', () => {
    const bytes = randomBytes(200_000);
    let entry: ReturnType<ScriptedRegistry['addBlob']>;
    before(() => {
      entry = registry.addBlob(bytes);
    });

    it('arrive whole', async () => {
      using open = openSession(ref(':t'));
      assert.deepEqual(await open.blob(entry), bytes);
      assert.deepEqual(await open.blob(entry, bytes.subarray(0, 77_777)), bytes);
      assert.equal(registry.requests.at(-1)?.headers.range, 'bytes=77777-');
      assert.deepEqual(await open.blob(entry, bytes), bytes);
      assert.equal(registry.requests.length, 2);
    });

    it('are continued after twenty resets, with hardly a byte fetched twice', async () => {
      registry.script(/blobs/, resetAfter(bytes, 9_000), 20);
      using open = openSession(ref(':t'));
      assert.deepEqual(await open.blob(entry), bytes);
      const starts = registry.requests.map(({ headers }) => Number(/\d+/.exec(headers.range ?? '0')?.[0]));
      assert.equal(starts.length, 21);
      const refetched = starts.reduce((sum, start, index) => sum + Math.max(0, index * 9_000 - start), 0);
      assert.ok(refetched <= bytes.length * 0.05, `${refetched} bytes`);
    });

    it('are given up after five tries without progress', async () => {
      registry.script(/blobs/, resetAfter(bytes, 0), 5);
      using open = openSession(ref(':t'));
      await assert.rejects(open.blob(entry), { code: 'UNAVAILABLE', message: new RegExp(registry.host) });
      assert.equal(registry.requests.length, 5);
    });

    it('are put together right when the server ignores Range', async () => {
      registry.script(/blobs/, resetAfter(bytes, 50_000));
      registry.script(/blobs/, (response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes));
      using open = openSession(ref(':t'));
      assert.deepEqual(await open.blob(entry), bytes);
    });

    for (const [name, headers] of [
      ['another start', { 'content-range': `bytes 1-${bytes.length - 1}/${bytes.length}` }],
      ['another total', { 'content-range': `bytes 50000-${bytes.length - 1}/${bytes.length + 1}` }],
      ['no range', {}],
      ['another length', { 'content-range': `bytes 50000-${bytes.length - 1}/${bytes.length}`, 'content-length': 5 }],
    ] as const) {
      it(`refuse a part with ${name}`, async () => {
        registry.script(/blobs/, (response) => response.writeHead(206, headers).end('12345'));
        using open = openSession(ref(':t'));
        await assert.rejects(open.blob(entry, bytes.subarray(0, 50_000)), { code: 'FAILED_PRECONDITION' });
      });
    }

    it('are refused by their announced length, and cut where they get longer', async () => {
      using open = openSession(ref(':t'));
      for (const length of [bytes.length + 1, bytes.length - 1]) {
        registry.script(/blobs/, (response) => response.writeHead(200, { 'content-length': length }).write('x'));
        await assert.rejects(open.blob(entry), { code: 'FAILED_PRECONDITION' });
      }
      registry.script(/blobs/, (response) => response.writeHead(200).end(Buffer.concat([bytes, Buffer.alloc(1)])));
      await assert.rejects(open.blob(entry), { code: 'FAILED_PRECONDITION', message: /more than the 200000 bytes/ });
    });

    it('are refused when they stay short', async () => {
      registry.script(/blobs/, (response) => {
        response.write(bytes.subarray(0, 1000));
        response.end();
      });
      const nothing = { 'content-range': `bytes 1000-${bytes.length - 1}/${bytes.length}` };
      registry.script(/blobs/, (response) => response.writeHead(206, nothing).end(), 5);
      using open = openSession(ref(':t'));
      await assert.rejects(open.blob(entry), { code: 'FAILED_PRECONDITION', message: /after 1000 of 200000 bytes/ });
    });

    it('report what their consumer throws', async () => {
      using open = openSession(ref(':t'));
      const target = {
        offset: 0,
        allocate: () => Buffer.alloc(1000),
        take: async () => {
          throw new TypeError('disk full');
        },
      };
      await assert.rejects(open.session.fetchBlob(entry, target, never), { name: 'TypeError', message: 'disk full' });
      assert.equal(registry.requests.length, 1);
    });

    it('stop with the signal', async () => {
      registry.script(/blobs/, (response) => response.writeHead(200).write('x'));
      const controller = new AbortController();
      using open = openSession(ref(':t'));
      const target = { offset: 0, allocate: () => Buffer.alloc(1), take: async () => controller.abort() };
      await assert.rejects(open.session.fetchBlob(entry, target, controller.signal), { code: 'CANCELED' });
    });
  });

  describe('patience', () => {
    it('waits as long as it is told, at most five times', async () => {
      const entry = registry.addManifest({ c: 1 }, OCI_MANIFEST, 'c');
      for (const status of [429, 503]) {
        registry.requests.length = 0;
        registry.script(/c$/, (response) => response.writeHead(status, { 'retry-after': '1' }).end());
        using open = openSession(ref(':c'));
        assert.deepEqual(await open.session.resolve(never), entry);
        const [first, second] = registry.requests;
        assert.ok((second?.at ?? 0) - (first?.at ?? 0) >= 1000);
      }
      registry.requests.length = 0;
      registry.script(/c$/, (response) => response.writeHead(429).end(), 5);
      using open = openSession(ref(':c'));
      await assert.rejects(open.session.resolve(never), { code: 'RESOURCE_EXHAUSTED', message: /429/ });
      assert.equal(registry.requests.length, 5);
    });

    it('is not kept waiting for an hour', async () => {
      registry.script(/c$/, (response) => response.writeHead(429, { 'retry-after': '3600' }).end());
      using open = openSession(ref(':c'));
      await assert.rejects(open.session.resolve(never), { code: 'RESOURCE_EXHAUSTED' });
    });

    it('ends with silent servers', async () => {
      registry.script(/silent$/, () => {}, 5);
      using open = openSession(ref(':silent'));
      await assert.rejects(open.session.resolve(never), {
        code: 'DEADLINE_EXCEEDED',
        message: new RegExp(registry.host),
      });
    });

    it('ends with servers that drip', async () => {
      const bytes = randomBytes(5000);
      const entry = registry.addBlob(bytes);
      const timers: NodeJS.Timeout[] = [];
      const drip = (response: import('node:http').ServerResponse) => {
        response.writeHead(200, { 'content-length': bytes.length });
        response.on('error', () => {});
        timers.push(setInterval(() => response.write('x'), 50));
      };
      registry.script(/blobs/, drip, 5);
      using open = openSession(ref(':t'));
      try {
        await assert.rejects(open.blob(entry), { code: 'DEADLINE_EXCEEDED' });
      } finally {
        for (const timer of timers) clearInterval(timer);
      }
    });

    it('does not count the time a slow consumer takes', async () => {
      const bytes = randomBytes(400_000);
      const entry = registry.addBlob(bytes);
      using open = openSession(ref(':t'));
      let got = 0;
      const target = {
        offset: 0,
        allocate: (remaining: number) => Buffer.alloc(Math.min(200_000, remaining)),
        take: async (chunk: Uint8Array) => {
          got += chunk.length;
          await new Promise((resolve) => setTimeout(resolve, IMPATIENT.idleTimeout + 200));
        },
      };
      await open.session.fetchBlob(entry, target, never);
      assert.equal(got, bytes.length);
      assert.equal(registry.requests.length, 1);
    });
  });

  describe('floods', () => {
    it('of headers are cut', async () => {
      registry.script(/flood$/, (response) => {
        for (let i = 0; i < 5000; i++) response.setHeader(`x-${i}`, 'y'.repeat(100));
        response.end();
      });
      using open = openSession(ref(':flood'));
      await assert.rejects(open.session.resolve(never), { code: 'RESOURCE_EXHAUSTED' });
    });

    it('of error text are cut, and its control characters dropped', async () => {
      registry.script(/GET .*manifests/, (response) => {
        response.writeHead(403);
        response.on('error', () => {});
        response.write('\u001b[31mno\r\n');
        const more = () => {
          while (!response.destroyed && response.write('z'.repeat(65536)));
        };
        response.on('drain', more);
        more();
      });
      using open = openSession(ref(':t'));
      const descriptor = { mediaType: OCI_MANIFEST, digest: OTHER, size: 5 };
      await assert.rejects(open.session.fetchDocument(descriptor, never), (error) => {
        assert.ok(error instanceof Error && error.message.length < 1000);
        assert.doesNotMatch(error.message, /\p{Cc}/u);
        return true;
      });
    });
  });

  it('treats encoded answers as the bytes they are', async () => {
    const entry = registry.addBlob(Buffer.from('plain'));
    registry.script(/blobs/, (response) => {
      response.writeHead(200, { 'content-encoding': 'gzip, gzip, gzip, gzip, gzip, gzip, br' }).end('plain');
    });
    using open = openSession(ref(':t'));
    assert.equal((await open.blob(entry)).toString(), 'plain');
  });

  it('names a host that cannot be reached or resolved, and never falls back to http', async () => {
    using unresolved = openSession('registry.invalid/a/b:c');
    await assert.rejects(unresolved.session.resolve(never), { code: 'UNAVAILABLE', message: /"registry\.invalid"/ });
    using plain = openSession(ref(':one'), { hosts: [defaultHost(registry.host, 'https')] });
    await assert.rejects(plain.session.resolve(never), { code: 'UNAVAILABLE', message: /TLS.*plain http/ });
    assert.equal(registry.requests.length, 0);
  });

  it('goes on to the next host at once when a mirror fails', async () => {
    await using mirror = await ScriptedRegistry.start();
    const entry = registry.addManifest({ d: 1 }, OCI_MANIFEST, 'd');
    const hosts = [defaultHost(mirror.host), defaultHost(registry.host)];
    for (const status of [503, 404, 403, 429]) {
      mirror.script(/d$/, (response) => response.writeHead(status, { 'retry-after': '30' }).end());
      using open = openSession(ref(':d'), { hosts });
      assert.deepEqual(await open.session.resolve(never), entry);
    }
    assert.equal(mirror.requests[0]?.url, `/v2/team/app/manifests/d?ns=${encodeURIComponent(registry.host)}`);
    assert.equal(registry.requests[0]?.url, '/v2/team/app/manifests/d');
    using open = openSession(ref(':absent'), { hosts });
    await assert.rejects(open.session.resolve(never), { code: 'NOT_FOUND', message: /mirrors before it/ });
  });

  it('asks only hosts that can do it', async () => {
    const hosts = [{ ...defaultHost(registry.host), capabilities: ['pull'] as const }];
    using open = openSession(ref(':one'), { hosts });
    await assert.rejects(open.session.resolve(never), { code: 'FAILED_PRECONDITION', message: /can resolve/ });
  });
});
