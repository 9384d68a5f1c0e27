import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { hasCode } from '../../../kernel/errors.js';
import { scratch } from '../../../test/harness/scratch.js';
import { CAPABILITIES, defaultHost, isMirrorOf } from './host.js';
import { loadHosts } from './hosts-toml.js';

/** A directory tree of hosts.toml files and certificates. */
async function hostsDirectory(files: Readonly<Record<string, string>>) {
  const directory = await scratch('hosts');
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(directory.path, path, '..'), { recursive: true });
    await writeFile(join(directory.path, path), text);
  }
  return directory;
}

describe('hosts without configuration', () => {
  const base = (host: string, scheme?: 'http' | 'https') => defaultHost(host, scheme).base.href;
  it('knows Docker Hub', () => {
    assert.equal(base('docker.io'), 'https://registry-1.docker.io/v2');
    assert.equal(base('docker.io', 'http'), 'https://registry-1.docker.io/v2');
    assert.ok(!isMirrorOf(defaultHost('docker.io'), 'docker.io'));
    assert.ok(isMirrorOf(defaultHost('mirror.example'), 'docker.io'));
  });
  it('takes https, and http on this machine', () => {
    assert.equal(base('quay.io'), 'https://quay.io/v2');
    assert.equal(base('quay.io', 'http'), 'http://quay.io/v2');
    assert.equal(base('127.0.0.1:5000'), 'http://127.0.0.1:5000/v2');
    assert.equal(base('localhost:5000'), 'http://localhost:5000/v2');
    assert.equal(base('[::1]:5000'), 'http://[::1]:5000/v2');
    assert.equal(base('localhost'), 'https://localhost/v2');
    assert.equal(base('localhost:5000', 'https'), 'https://localhost:5000/v2');
    assert.equal(base('127.0.0.1.evil.example:5000'), 'https://127.0.0.1.evil.example:5000/v2');
  });
});

describe('hosts.toml', () => {
  it('asks mirrors in the order of the file, the server last', async () => {
    await using directory = await hostsDirectory({
      'docker.io/hosts.toml': `
        server = "https://registry-1.docker.io"
        [host."https://z.example"]
          capabilities = ["Pull"]
          [host."https://z.example".header]
            x-one = "1"
            x-two = ["2", "3"]
        [host."http://a.example:5000/prefix"]
          dial_timeout = "1.5s"
        [host."10.0.0.1/custom/"]
          override_path = true
          skip_verify = true
          ca = ["/dev/null", "ca.pem"]
          client = [["client.cert", "client.key"]]
      `,
      'docker.io/ca.pem': 'CA',
      'docker.io/client.cert': 'CERT',
      'docker.io/client.key': 'KEY',
    });
    const hosts = await loadHosts([directory.path], 'docker.io');
    assert.deepEqual(
      hosts.map(({ base }) => base.href),
      [
        'https://z.example/v2',
        'http://a.example:5000/prefix/v2',
        'https://10.0.0.1/custom',
        'https://registry-1.docker.io/v2',
      ],
    );
    const [first, second, third, last] = hosts;
    assert.deepEqual(first?.capabilities, ['pull']);
    assert.deepEqual(first?.headers, { 'x-one': ['1'], 'x-two': ['2', '3'] });
    assert.equal(second?.dialTimeout, 1500);
    assert.deepEqual(third?.tls, { ca: ['', 'CA'], identities: [{ cert: 'CERT', key: 'KEY' }], skipVerify: true });
    assert.deepEqual(last?.capabilities, CAPABILITIES);
  });

  it('is found by host and port, and by _default', async () => {
    await using directory = await hostsDirectory({
      'h_5000_/hosts.toml': 'server = "https://one.example"',
      'h:5001/hosts.toml': 'server = "https://two.example"',
      '_default/hosts.toml': '[host."https://mirror.example"]',
    });
    const names = async (registry: string) =>
      (await loadHosts([join(directory.path, 'absent'), directory.path], registry)).map(({ base }) => base.host);
    assert.deepEqual(await names('h:5000'), ['one.example']);
    assert.deepEqual(await names('h:5001'), ['two.example']);
    assert.deepEqual(await names('other'), ['mirror.example', 'other']);
  });

  it('takes client certificates as one file, several files, pairs, and these mixed', async () => {
    const [one, two] = [
      { cert: 'ONE', key: 'ONE' },
      { cert: 'CERT', key: 'KEY' },
    ];
    for (const [client, identities] of [
      ['"one.pem"', [one]],
      ['["one.pem"]', [one]],
      ['["one.pem", "one.pem"]', [one, one]],
      ['[["two.cert", "two.key"]]', [two]],
      ['[["two.cert", "two.key"], ["one.pem", ""], ["one.pem", "one.pem"]]', [two, one, one]],
      ['["one.pem", ["two.cert", "two.key"]]', [one, two]],
      ['[]', []],
    ] as const) {
      await using directory = await hostsDirectory({
        'h/hosts.toml': `client = ${client}`,
        'h/one.pem': 'ONE',
        'h/two.cert': 'CERT',
        'h/two.key': 'KEY',
      });
      const [host] = await loadHosts([directory.path], 'h');
      assert.deepEqual(host?.tls, { identities }, client);
    }
  });

  it("falls back to Docker's certificates", async () => {
    await using directory = await hostsDirectory({
      'h/ca.crt': 'CA',
      'h/both.cert': 'BOTH',
      'h/me.cert': 'CERT',
      'h/me.key': 'KEY',
    });
    const [host] = await loadHosts([directory.path], 'h');
    assert.equal(host?.base.href, 'https://h/v2');
    const identities = [
      { cert: 'BOTH', key: 'BOTH' },
      { cert: 'CERT', key: 'KEY' },
    ];
    assert.deepEqual(host?.tls, { ca: ['CA'], identities });
  });

  it('is read again each time', async () => {
    await using directory = await hostsDirectory({ 'h/hosts.toml': 'server = "https://one.example"' });
    assert.equal((await loadHosts([directory.path], 'h'))[0]?.base.host, 'one.example');
    await writeFile(join(directory.path, 'h/hosts.toml'), 'server = "https://two.example"');
    assert.equal((await loadHosts([directory.path], 'h'))[0]?.base.host, 'two.example');
  });

  for (const [name, text, message] of [
    ['no TOML', 'server = ', /hosts\.toml:1:\d+" is not TOML/],
    ['a capability unknown', 'capabilities = ["fly"]', /capabilities/],
    ['a server that is none', 'server = "http://"', /not the URL/],
    ['credentials in a URL', '[host."https://user:secret@h.example"]', /holds credentials/],
    ['no duration', 'dial_timeout = "soon"', /dial_timeout "soon"/],
    ['a wrong type', 'skip_verify = "yes"', /skip_verify/],
    ['a pair of three', 'client = [["a", "b", "c"]]', /client/],
  ] as const) {
    it(`names the file with ${name}`, async () => {
      await using directory = await hostsDirectory({ 'h/hosts.toml': text });
      await assert.rejects(loadHosts([directory.path], 'h'), (error) => {
        assert.ok(hasCode(error, 'INVALID_ARGUMENT') && error instanceof Error);
        assert.match(error.message, message);
        assert.match(error.message, /hosts\.toml/);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    });
  }
});
