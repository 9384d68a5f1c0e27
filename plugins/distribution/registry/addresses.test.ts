import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isLoopback, refusal } from './addresses.js';

describe('addresses', () => {
  it('knows this machine by all its names', () => {
    for (const url of [
      'localhost',
      'LOCALHOST',
      'a.localhost',
      '127.0.0.1',
      '127.9',
      '0x7f.1',
      '2130706433',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0.0.0.0',
    ]) {
      assert.ok(isLoopback(new URL(`http://${url}/`).hostname), url);
    }
    for (const name of ['localhost.example', '128.0.0.1', '[::2]', 'docker.io']) assert.ok(!isLoopback(name), name);
  });

  const refused = (from: string, to: string) => refusal(new URL(from), new URL(to)) !== undefined;
  it('lets a server send us elsewhere', () => {
    assert.ok(!refused('https://registry.example', 'https://cdn.example:8443/x'));
    assert.ok(!refused('http://registry.example', 'https://cdn.example/x'));
    assert.ok(!refused('http://127.0.0.1:1', 'http://localhost:2/x'));
    assert.ok(!refused('https://10.0.0.1', 'https://10.0.0.2'));
  });
  it('but not to everything', () => {
    assert.ok(refused('https://registry.example', 'http://registry.example/x'));
    assert.ok(refused('https://registry.example', 'https://169.254.169.254/latest/meta-data'));
    assert.ok(refused('https://registry.example', 'https://[fe80::1]/'));
    assert.ok(refused('https://registry.example', 'https://[::ffff:169.254.169.254]/'));
    assert.ok(refused('http://127.0.0.1:1', 'http://169.254.169.254/'));
    assert.ok(refused('https://registry.example', 'https://127.0.0.1/'));
    assert.ok(refused('https://registry.example', 'https://localhost/'));
    assert.ok(refused('https://registry.example', 'file:///etc/passwd'));
    assert.ok(refused('https://registry.example', 'ftp://cdn.example/x'));
  });
});
