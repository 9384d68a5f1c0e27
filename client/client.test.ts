import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Daemon } from '../test/harness/daemon.js';
import { type Client, connect } from './index.js';

describe('the client on stock containerd', () => {
  let daemon: Daemon;
  let client: Client;

  before(async () => {
    daemon = await Daemon.start({ kind: 'containerd' });
    client = connect({ address: `unix://${daemon.address}`, namespace: 'client' });
  });
  after(async () => {
    client[Symbol.dispose]();
    await daemon[Symbol.asyncDispose]();
  });

  it('makes unary calls with fields left out', async () => {
    assert.match((await client.version.version({})).version, /^1\./);
    assert.ok((await client.introspection.plugins({})).plugins.length > 0);
  });

  it('writes and reads streams both ways', async () => {
    async function* upload() {
      yield { action: 1 as const, ref: 'hello', total: 5n, data: Buffer.from('hello') };
      yield { action: 2 as const, ref: 'hello', total: 5n, offset: 5n };
    }
    const offsets: bigint[] = [];
    for await (const { offset } of client.content.write(upload())) offsets.push(offset);
    assert.equal(offsets.at(-1), 5n);
    const digest = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
    const chunks: Uint8Array[] = [];
    for await (const { data } of client.content.read({ digest })) chunks.push(data);
    assert.equal(Buffer.concat(chunks).toString(), 'hello');
  });

  it('turns a status into an error of the taxonomy', async () => {
    await assert.rejects(client.images.get({ name: 'absent' }), { code: 'NOT_FOUND', message: /absent/ });
  });

  it('cancels a stream by signal and by leaving it', async () => {
    const signal = AbortSignal.timeout(50);
    const listening = async () => {
      for await (const envelope of client.events.subscribe({}, { signal })) assert.fail(envelope.topic);
    };
    await assert.rejects(listening(), { code: 'CANCELED' });
    for await (const { info } of client.content.list({})) {
      assert.equal(info.length, 1);
      break;
    }
  });

  it('keeps a deadline', async () => {
    const waiting = async () => {
      for await (const envelope of client.events.subscribe({}, { timeout: 50 })) assert.fail(envelope.topic);
    };
    await assert.rejects(waiting(), { code: 'DEADLINE_EXCEEDED' });
  });
});

describe('the client without a daemon', () => {
  it('refuses a namespace and a lease that no header can hold', async () => {
    for (const name of ['b\u00fcro', 'a\nb', 'a\u0000']) {
      using client = connect({ address: '/nonexistent/keelson.sock', namespace: name });
      const expected = { code: 'INVALID_ARGUMENT', message: /^namespace ".*" holds characters/ };
      await assert.rejects(client.version.version({}), expected);
      assert.throws(() => client.content.list({}), expected);
      await assert.rejects(client.version.version({}, { namespace: 'fine', lease: name }), { message: /^lease "/ });
    }
  });

  it('names the socket and the remedy', async () => {
    using client = connect({ address: '/nonexistent/keelson.sock', namespace: 'client' });
    await assert.rejects(client.version.version({}), {
      code: 'UNAVAILABLE',
      message: /"\/nonexistent\/keelson\.sock".*start keelsond/,
    });
  });
});
