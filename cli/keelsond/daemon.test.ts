import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DatagramSocket } from '../../test/harness/datagram.js';
import { configure, Keelsond } from '../../test/harness/keelsond.js';
import { scratch } from '../../test/harness/scratch.js';
import { humanLine, LogSink } from './log.js';

describe('keelsond', () => {
  it('tells systemd, reloads on SIGHUP, describes itself on SIGUSR1, and stops cleanly on SIGTERM', async () => {
    await using directory = await scratch('keelsond');
    configure(directory, {
      calm: "onStop(() => console.error('calm is stopped')); (await import('node:fs')).writeFileSync(stateDir() + '/file', '')",
    });
    const address = join(directory.path, 'notify.sock');
    using manager = new DatagramSocket(address);
    await using daemon = new Keelsond(directory, ['-l', 'debug'], { NOTIFY_SOCKET: address });
    await daemon.says('"msg":"ready"');
    assert.equal(manager.receive(), 'READY=1');
    daemon.kill('SIGHUP');
    await daemon.says('configuration reloaded');
    assert.match(manager.receive() ?? '', /^RELOADING=1\nMONOTONIC_USEC=\d+$/);
    assert.equal(manager.receive(), 'READY=1');
    daemon.kill('SIGUSR1');
    await daemon.says(/"faults":0.*"calm: ok".*state of the daemon/);
    daemon.kill('SIGTERM');
    assert.equal(await daemon.ended, 0);
    assert.equal(manager.receive(), 'STOPPING=1');
    assert.match(daemon.output, /calm is stopped[\s\S]*"msg":"stopped"/);
    assert.equal(statSync(join(directory.path, 'state/test.calm/file')).mode & 0o777, 0o600, 'nobody else may read it');
  });

  it('stays up, and counts, when a plugin throws where nobody can catch it', async () => {
    await using directory = await scratch('keelsond');
    configure(directory, {
      thrower: "setTimeout(() => { throw new Error('thrown later') }, 20)",
      rejecter: "setTimeout(() => { Promise.reject(new Error('rejected later')) }, 40)",
    });
    await using daemon = new Keelsond(directory, []);
    await daemon.says('"msg":"ready"');
    await daemon.says(/"level":"error".*"plugin":"thrower".*thrown later.*"msg":"uncaught exception"/);
    await daemon.says(/"plugin":"rejecter".*"faults":2.*rejected later.*"msg":"unhandled rejection"/);
    daemon.kill('SIGINT');
    assert.equal(await daemon.ended, 0);
  });

  it('runs without optional plugins that fail, and not without a required one', async () => {
    await using directory = await scratch('keelsond');
    configure(directory, { broken: "throw new Error('no luck')", fine: '' });
    {
      await using daemon = new Keelsond(directory, []);
      await daemon.says('"msg":"ready"');
      assert.match(daemon.output, /"plugin":"broken","outcome":"error".*no luck/);
    }
    configure(directory, { broken: "throw new Error('no luck')", fine: '' }, ['broken']);
    await using daemon = new Keelsond(directory, []);
    assert.equal(await daemon.ended, 1);
    assert.match(daemon.output, /"level":"fatal".*required plugin \\"broken\\" ended as error: .*no luck/);
  });

  it('refuses a configuration with errors, telling all of them', async () => {
    await using directory = await scratch('keelsond');
    writeFileSync(
      join(directory.path, 'config.toml'),
      'rooot = 1\n[plugins.content.config]\nnope = 1\n[plugins.cotnent]\n',
    );
    await using daemon = new Keelsond(directory, ['--log-level', 'loud']);
    assert.equal(await daemon.ended, 1);
    for (const text of [
      'config.toml:1:1: rooot: ',
      'config.toml:3:1: plugins.content.config.nope: ',
      'plugins.cotnent: .*did you mean ',
      'flag --log-level: log.level: ',
    ])
      assert.match(daemon.output, new RegExp(text));
    assert.ok(!existsSync(join(directory.path, 'root')), 'nothing was touched');
  });

  it('gives the root to one daemon; the other exits at once and names it', async () => {
    await using directory = await scratch('keelsond');
    configure(directory, { fine: '' });
    await using first = new Keelsond(directory, []);
    await first.says('"msg":"ready"');
    const begin = performance.now();
    await using second = new Keelsond(directory, []);
    assert.equal(await second.ended, 1);
    assert.ok(performance.now() - begin < 5000);
    assert.match(second.output, new RegExp(`in use by process ${first.pid};`));
    first.kill('SIGKILL');
    await first.ended;
    await using third = new Keelsond(directory, []);
    await third.says('"msg":"ready"');
  });

  it('exits at once on the second signal, while a plugin hangs in its stop', async () => {
    await using directory = await scratch('keelsond');
    configure(directory, { hanging: 'onStop(() => new Promise(() => {}))' });
    await using daemon = new Keelsond(directory, []);
    await daemon.says('"msg":"ready"');
    daemon.kill('SIGTERM');
    await daemon.says('"msg":"stopping"');
    daemon.kill('SIGTERM');
    assert.equal(await daemon.ended, 1);
    assert.match(daemon.output, /exiting at once/);
  });

  it('stops cleanly while it is still starting', async () => {
    await using directory = await scratch('keelsond');
    configure(directory, {
      first: "onStop(() => console.error('first is stopped'))",
      slow: "console.error('slow begins'); await new Promise((resolve) => signal.addEventListener('abort', resolve))",
    });
    await using daemon = new Keelsond(directory, []);
    await daemon.says('slow begins');
    daemon.kill('SIGTERM');
    assert.equal(await daemon.ended, 0);
    assert.match(daemon.output, /first is stopped/);
  });

  it('goes on when its log cannot be written, and says later how much is missing', async () => {
    await using directory = await scratch('keelsond');
    const file = join(directory.path, 'log');
    const unwritable = openSync('/dev/full', 'w');
    const sink = new LogSink(unwritable, (json) => json);
    for (let count = 0; count < 3; count++) sink.write('{"msg":"lost"}\n');
    // The same descriptor number, now with room.
    closeSync(unwritable);
    const fd = openSync(file, 'a');
    assert.equal(fd, unwritable);
    sink.write('{"msg":"kept"}\n');
    closeSync(fd);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).msg),
      ['3 log records could not be written', 'kept'],
    );
  });

  it('has a log for people, too', () => {
    const json =
      '{"level":"warn","time":"2026-01-02T03:04:05.678Z","plugin":"x","n":1,"err":{"stack":"Error: e\\n at y"},"msg":"hello"}';
    assert.equal(humanLine(json), '03:04:05.678 WARN  hello  plugin=x  n=1\nError: e\n at y\n');
  });
});
