/** Who gets to see credentials, and who does not. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Credentials } from '../../../kernel/contracts/distribution.js';
import { OCI_MANIFEST } from '../../../lib/oci/media-types.js';
import { type Certificates, makeCertificates } from '../../../test/hostile/certificates.js';
import { type Entry, refuse, ScriptedRegistry, type SeenRequest } from '../../../test/hostile/registry.js';
import { never, openSession } from '../../../test/hostile/sessions.js';
import type { TlsSettings } from './connections.js';
import { defaultHost } from './host.js';

const CANARY = 'canary-9f2c7d';
const HEADER_CANARY = 'canary-header-4411';
const TOKEN = 'token-canary-77aa';
const password: Credentials = { kind: 'password', username: 'me', secret: CANARY };

const basicOf = (username: string, secret: string) =>
  `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`;

function assertClean(requests: readonly SeenRequest[]): void {
  const text = JSON.stringify(requests);
  for (const secret of [CANARY, HEADER_CANARY, TOKEN, Buffer.from(`me:${CANARY}`).toString('base64')]) {
    assert.ok(!text.includes(secret), 'a secret was seen where it must not be');
  }
}

/** The error has that code, and neither it nor what it was caused by tells a secret. */
const discreet =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    const everything = `${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
    for (const secret of [CANARY, HEADER_CANARY, TOKEN, 'query-secret'])
      assert.ok(!everything.includes(secret), everything);
    return true;
  };

describe('secrets', () => {
  let registry: ScriptedRegistry;
  let foreign: ScriptedRegistry;
  let entry: Entry;
  const bytes = randomBytes(100);

  before(async () => {
    registry = await ScriptedRegistry.start();
    foreign = await ScriptedRegistry.start();
    for (const server of [registry, foreign]) {
      entry = server.addManifest({ x: 1 }, OCI_MANIFEST, 'tag');
      server.addBlob(bytes);
    }
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await foreign[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    registry.forget();
    foreign.forget();
  });

  const open = (credentials?: Credentials, tag = ':tag') =>
    openSession(`${registry.host}/team/app${tag}`, {
      access: { credentials: async () => credentials, headers: { 'x-api-key': HEADER_CANARY } },
    });

  /** The registry answers only requests with that Authorization; the others get the challenge. */
  function guard(wanted: () => string, challenge: () => string | readonly string[], times = 50): void {
    registry.script(
      /\/v2\//,
      (response, request, normal) => {
        if (request.headers.authorization === wanted()) normal();
        else refuse(response, 401, 'UNAUTHORIZED', 'who are you?', { 'www-authenticate': challenge() });
      },
      times,
    );
  }

  const bearer = (realm: string, more = '') =>
    `Bearer realm="${realm}",service="svc",scope="repository:team/app:pull"${more}`;
  const grant =
    (token: string, more: object = {}) =>
    (response: ServerResponse) =>
      void response.end(JSON.stringify({ token, ...more }));

  describe('reach those they are for', () => {
    it('as basic authentication', async () => {
      guard(
        () => basicOf('me', CANARY),
        () => 'Basic realm="r"',
      );
      using session = open(password);
      assert.deepEqual(await session.session.resolve(never), entry);
      await session.session.fetchDocument(entry, never);
      assert.equal(registry.requests.length, 3);
    });

    it('as a ready header', async () => {
      guard(
        () => `Custom ${CANARY}`,
        () => 'Basic realm="r"',
      );
      using session = open({ kind: 'header', value: `Custom ${CANARY}` });
      assert.deepEqual(await session.session.resolve(never), entry);
    });

    it('as a token, fetched once for many requests', async () => {
      guard(
        () => `Bearer ${TOKEN}`,
        () => bearer(`${foreign.url}/token`),
      );
      foreign.script(/token/, grant(TOKEN, { expires_in: 300 }));
      using session = open(password);
      assert.deepEqual(await session.session.resolve(never), entry);
      await Promise.all([1, 2, 3].map(() => session.session.fetchDocument(entry, never)));
      assert.equal(foreign.requests.length, 1);
      const [asked] = foreign.requests;
      assert.equal(asked?.headers.authorization, basicOf('me', CANARY));
      assert.equal(asked?.headers['x-api-key'], undefined);
      const query = new URL(asked?.url ?? '', foreign.url).searchParams;
      assert.deepEqual(query.getAll('scope'), ['repository:team/app:pull']);
      assert.equal(query.get('service'), 'svc');
    });

    it('as an anonymous token', async () => {
      guard(
        () => `Bearer ${TOKEN}`,
        () => bearer(`${foreign.url}/token`),
      );
      foreign.script(/token/, (response) => response.end(JSON.stringify({ access_token: TOKEN })));
      using session = open();
      assert.deepEqual(await session.session.resolve(never), entry);
      assert.equal(foreign.requests[0]?.headers.authorization, undefined);
    });

    it('as a refresh token, in a body', async () => {
      guard(
        () => `Bearer ${TOKEN}`,
        () => bearer(`${foreign.url}/token`),
      );
      foreign.script(/POST .*token/, grant(TOKEN));
      using session = open({ kind: 'refresh-token', token: CANARY });
      assert.deepEqual(await session.session.resolve(never), entry);
      const [asked] = foreign.requests;
      assert.deepEqual(Object.fromEntries(new URLSearchParams(asked?.body)), {
        grant_type: 'refresh_token',
        service: 'svc',
        scope: 'repository:team/app:pull',
        client_id: 'keelson',
        refresh_token: CANARY,
      });
    });

    it('again when a token expires between two requests', async () => {
      let valid = 'first';
      guard(
        () => `Bearer ${valid}`,
        () => bearer(`${foreign.url}/token`, ',error="invalid_token"'),
      );
      foreign.script(/token/, grant('first'));
      foreign.script(/token/, grant('second'));
      using session = open(password);
      await session.session.resolve(never);
      valid = 'second';
      assert.equal((await session.session.fetchDocument(entry, never)).toString(), '{"x":1}');
      assert.equal(foreign.requests.length, 2);
    });

    it('asked for once per host, with its challenge', async () => {
      const asked: unknown[] = [];
      guard(
        () => basicOf('me', CANARY),
        () => ['Basic realm="r"', 'Other a=b'],
      );
      using session = openSession(`${registry.host}/team/app:tag`, {
        access: {
          credentials: async (request) => {
            asked.push(request);
            return password;
          },
        },
      });
      await session.session.resolve(never);
      await session.session.fetchDocument(entry, never);
      assert.deepEqual(asked, [
        { host: registry.host, reference: `${registry.host}/team/app`, challenges: ['Basic realm="r"', 'Other a=b'] },
      ]);
    });
  });

  describe('do not reach', () => {
    for (const status of [301, 302, 303, 307, 308]) {
      it(`the host that a ${status} leads to`, async () => {
        guard(
          () => basicOf('me', CANARY),
          () => 'Basic realm="r"',
          1,
        );
        registry.script(/blobs/, (response, request) => {
          response
            .writeHead(status, { location: `${foreign.url}${request.url}?query-secret=1`, 'set-cookie': 'a=b' })
            .end();
        });
        using session = open(password);
        await session.session.resolve(never);
        const blob = { mediaType: 'x/y', digest: registry.addBlob(bytes).digest, size: bytes.length };
        assert.deepEqual(await session.blob(blob), bytes);
        assert.equal(foreign.requests.length, 1);
        assert.equal(foreign.requests[0]?.headers.cookie, undefined);
        assert.equal(foreign.requests[0]?.headers.authorization, undefined);
        assertClean(foreign.requests);
      });
    }

    it('a host that asks for them after a redirect', async () => {
      registry.script(/HEAD/, (response, { url }) =>
        response.writeHead(307, { location: `${foreign.url}${url}` }).end(),
      );
      foreign.script(
        /./,
        (response) => refuse(response, 401, 'X', 'give', { 'www-authenticate': 'Basic realm="r"' }),
        9,
      );
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED'));
      assert.equal(foreign.requests.length, 1);
      assertClean(foreign.requests);
    });

    it('the way back from a foreign host', async () => {
      guard(
        () => basicOf('me', CANARY),
        () => 'Basic realm="r"',
        1,
      );
      registry.script(/manifests\/tag/, (response) =>
        response.writeHead(302, { location: `${foreign.url}/away` }).end(),
      );
      foreign.script(/away/, (response) => response.writeHead(302, { location: `${registry.url}/back` }).end());
      registry.script(/back/, (response) => response.writeHead(404).end());
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('NOT_FOUND'));
      assertClean(registry.seen(/back/));
    });

    it('user information of a redirect', async () => {
      const location = `http://u:${CANARY}@${foreign.host}/x`;
      registry.script(/HEAD/, (response) => response.writeHead(302, { location }).end());
      using session = open();
      await assert.rejects(session.session.resolve(never), discreet('NOT_FOUND'));
      assert.equal(foreign.requests[0]?.headers.authorization, undefined);
    });

    it('token servers that redirect', async () => {
      guard(
        () => `Bearer ${TOKEN}`,
        () => bearer(`${registry.url}/token`),
      );
      registry.script(/token/, (response) => response.writeHead(307, { location: `${foreign.url}/t` }).end());
      foreign.script(/\/t/, (response) => response.writeHead(404).end());
      using withPassword = open(password);
      await assert.rejects(withPassword.session.resolve(never), discreet('UNAUTHENTICATED'));
      assert.equal(foreign.requests.length, 1);
      registry.script(/token/, (response) => response.writeHead(307, { location: `${foreign.url}/t` }).end());
      using withToken = open({ kind: 'refresh-token', token: CANARY });
      await assert.rejects(withToken.session.resolve(never), discreet('FAILED_PRECONDITION', /not followed/));
      assert.equal(foreign.requests.length, 1);
      assertClean(foreign.requests);
    });

    for (const [name, realm] of [
      ['nowhere', ''],
      ['no URL', 'not a url'],
      ['a file', 'file:///etc/shadow'],
      ['link-local', 'http://169.254.169.254/token'],
    ] as const) {
      it(`a token server that is ${name}`, async () => {
        guard(
          () => 'never',
          () => bearer(realm),
        );
        using session = open(password);
        await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /token server/));
        assert.equal(registry.requests.length, 1);
      });
    }
  });

  describe('are not shown', () => {
    it('when a registry echoes them', async () => {
      registry.script(
        /./,
        (response, request) => {
          const echo = `${request.headers.authorization} ${request.headers['x-api-key']} ${CANARY}`;
          refuse(response, request.headers.authorization ? 403 : 401, 'DENIED', echo, {
            'www-authenticate': 'Basic realm="r"',
          });
        },
        9,
      );
      using session = open(password);
      const descriptor = { mediaType: OCI_MANIFEST, digest: entry.digest, size: entry.size };
      await assert.rejects(session.session.fetchDocument(descriptor, never), discreet('PERMISSION_DENIED', /redacted/));
    });

    it('when a token server echoes them', async () => {
      guard(
        () => 'never',
        () => bearer(`${foreign.url}/token?query-secret=1`),
      );
      foreign.script(/token/, (response, { headers }) =>
        refuse(response, 403, 'DENIED', `${headers.authorization} ${CANARY}`),
      );
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /redacted/));
    });

    it('when a redirect fails', async () => {
      const location = 'http://u:query-secret@127.0.0.1:1/x?token=query-secret';
      registry.script(/HEAD/, (response) => response.writeHead(302, { location }).end(), 9);
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('UNAVAILABLE'));
    });
  });

  describe('are not tried for ever', () => {
    it('on a registry that always says 401', async () => {
      guard(
        () => 'never',
        () => 'Basic realm="r"',
      );
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /refused the credentials/));
      assert.ok(registry.requests.length <= 5);
    });

    it('with tokens either', async () => {
      guard(
        () => 'never',
        () => bearer(`${foreign.url}/token`),
      );
      foreign.script(/token/, grant(TOKEN), 50);
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /who are you|401/));
      assert.ok(registry.requests.length + foreign.requests.length <= 6);
    });

    it('without any', async () => {
      guard(
        () => 'never',
        () => 'Basic realm="r"',
      );
      using session = open();
      await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /user name and a password/));
      assert.equal(registry.requests.length, 1);
    });

    it('in a circle of redirects', async () => {
      registry.script(/./, (response, { url }) => response.writeHead(302, { location: url }).end(), 50);
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('FAILED_PRECONDITION', /more than 10 times/));
      assert.equal(registry.requests.length, 11);
    });
  });

  describe('tokens', () => {
    for (const [name, answer] of [
      ['no JSON', 'token'],
      ['no token', '{}'],
      ['a token that breaks headers', JSON.stringify({ token: 'a\r\nx: y' })],
      ['a token of another type', JSON.stringify({ token: 5 })],
    ] as const) {
      it(`are refused with ${name}`, async () => {
        guard(
          () => 'never',
          () => bearer(`${foreign.url}/token`),
        );
        foreign.script(/token/, (response) => response.end(answer));
        using session = open(password);
        await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /no usable token/));
      });
    }

    it('of 50 MB are not read', async () => {
      guard(
        () => 'never',
        () => bearer(`${foreign.url}/token`),
      );
      const megabyte = Buffer.alloc(1_000_000, 'x');
      foreign.script(/token/, (response) => {
        response.on('error', () => {});
        response.write('{"token":"');
        for (let i = 0; i < 50; i++) response.write(megabyte);
        response.end('"}');
      });
      using session = open(password);
      await assert.rejects(session.session.resolve(never), discreet('RESOURCE_EXHAUSTED'));
    });
  });

  describe('and TLS', () => {
    let keys: Certificates;
    before(async () => {
      keys = await makeCertificates();
    });

    const secure = (server: ScriptedRegistry, tls: TlsSettings = {}, credentials?: Credentials) =>
      openSession(`${server.host}/team/app:tag`, {
        hosts: [{ ...defaultHost(server.host, 'https'), tls }],
        access: { credentials: async () => credentials },
      });

    it('trusts only whom it was told to', async () => {
      await using server = await ScriptedRegistry.start(keys.server);
      const added = server.addManifest({ x: 1 }, OCI_MANIFEST, 'tag');
      using trusting = secure(server, { ca: [keys.authority] });
      assert.deepEqual(await trusting.session.resolve(never), added);
      using careless = secure(server, { skipVerify: true });
      assert.deepEqual(await careless.session.resolve(never), added);
      using strict = secure(server, {}, password);
      await assert.rejects(
        strict.session.resolve(never),
        discreet('UNAVAILABLE', /no trusted TLS connection to registry "127/),
      );
      assert.equal(server.requests.length, 2);
    });

    for (const which of ['wrongHost', 'expired'] as const) {
      it(`refuses a certificate that is ${which}`, async () => {
        await using server = await ScriptedRegistry.start(keys[which]);
        using session = secure(server, { ca: [keys.authority] });
        await assert.rejects(session.session.resolve(never), discreet('UNAVAILABLE', /TLS/));
        assert.equal(server.requests.length, 0);
      });
    }

    it('shows a client certificate to its host only', async () => {
      await using server = await ScriptedRegistry.start({ ...keys.server, clientCa: keys.authority });
      await using other = await ScriptedRegistry.start({ ...keys.server, clientCa: keys.authority });
      const added = server.addManifest({ x: 1 }, OCI_MANIFEST, 'tag');
      const tls = { ca: [keys.authority], identities: [keys.client] };
      using session = secure(server, tls);
      assert.deepEqual(await session.session.resolve(never), added);
      server.script(/HEAD/, (response) => response.writeHead(302, { location: `${other.url}/x` }).end());
      await assert.rejects(session.session.resolve(never), discreet('UNAVAILABLE'));
      assert.equal(other.requests.length, 0);
    });

    it('shows one client certificate after another until the registry takes one, and stays with that', async () => {
      const strangers = await makeCertificates();
      await using server = await ScriptedRegistry.start({ ...keys.server, clientCa: keys.authority });
      const added = server.addManifest({ x: 1 }, OCI_MANIFEST, 'tag');
      const blob = Buffer.alloc(3000, 'x');
      const entry = server.addBlob(blob);
      const identities = [strangers.client, strangers.wrongHost, keys.client, strangers.expired];
      using session = secure(server, { ca: [keys.authority], identities });
      assert.deepEqual(await session.session.resolve(never), added);
      assert.deepEqual(await session.blob(entry), blob);
      assert.equal(server.requests.length, 2, 'refused connections carry no request');
      using stranger = secure(server, { ca: [keys.authority], identities: [strangers.client, strangers.expired] });
      await assert.rejects(stranger.session.resolve(never), discreet('UNAVAILABLE'));
      assert.equal(server.requests.length, 2);
    });

    it('shows the next client certificate after an answer that one was refused, unless one was taken before', async () => {
      const strangers = await makeCertificates();
      await using server = await ScriptedRegistry.start(keys.server);
      const added = server.addManifest({ x: 1 }, OCI_MANIFEST, 'tag');
      server.script(/HEAD/, (response) => response.writeHead(400).end());
      using session = secure(server, { ca: [keys.authority], identities: [strangers.client, keys.client] });
      assert.deepEqual(await session.session.resolve(never), added);
      assert.equal(server.requests.length, 2);
      server.requests.length = 0;
      server.script(/HEAD|GET/, (response) => response.writeHead(400).end(), 2);
      await assert.rejects(session.session.resolve(never), discreet('FAILED_PRECONDITION', /answered 400/));
      const asked = new Set(server.requests.map(({ url }) => url));
      assert.equal(asked.size, server.requests.length, 'once one was taken the others are not tried');
    });

    it('never goes from https to http', async () => {
      await using server = await ScriptedRegistry.start(keys.server);
      server.script(/HEAD/, (response) => response.writeHead(302, { location: `${foreign.url}/x` }).end());
      using session = secure(server, { ca: [keys.authority] }, password);
      await assert.rejects(session.session.resolve(never), discreet('FAILED_PRECONDITION', /from https to http/));
      const challenge = { 'www-authenticate': bearer(`${foreign.url}/token`) };
      server.script(/HEAD/, (response) => refuse(response, 401, 'X', 'y', challenge));
      await assert.rejects(session.session.resolve(never), discreet('UNAUTHENTICATED', /from https to http/));
      assert.equal(foreign.requests.length, 0);
    });
  });
});
