/** Log files and names that are meant to mislead: attack 67 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeFifo } from '../../lib/linux/fifo.js';
import { NO_STREAMS, Reader } from '../../test/conformance/container.js';
import { rejects, scope, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject } from '../../test/harness/runc.js';

const skip = (await runcSubject().unavailable()) ?? false;

const logTo = (path: string) => ({ ...NO_STREAMS, stdout: `file://${path}` });

describe('a log file', { skip }, () => {
  it('that is a link is refused, and what the link names is not touched', async () => {
    await using bench = await Workbench.open(runcSubject());
    const [secret, missing] = [join(bench.work, 'secret'), join(bench.work, 'missing')];
    writeFileSync(secret, 'as it was');
    for (const [name, target] of Object.entries({ link: secret, dangling: missing })) {
      const path = join(bench.work, name);
      symlinkSync(target, path);
      await rejects('INVALID_ARGUMENT', bench.create('echo overwritten', { streams: logTo(path) }));
      const task = await bench.run('sleep 600');
      const exec = task.exec('e', 'echo overwritten', logTo(path));
      await rejects(
        'INVALID_ARGUMENT',
        exec.then(() => task.start('e')),
      );
      await task.end();
    }
    assert.equal(readFileSync(secret, 'utf8'), 'as it was');
    assert.ok(!readdirSync(bench.work).includes('missing'));
    assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
  });

  it('that is a FIFO is refused, and holds up nobody', async () => {
    await using bench = await Workbench.open(runcSubject());
    const fifo = join(bench.work, 'fifo');
    makeFifo(fifo);
    await rejects('INVALID_ARGUMENT', bench.create('true', { streams: logTo(fifo) }));
    const reader = new Reader(fifo);
    await rejects('INVALID_ARGUMENT', bench.create('true', { streams: logTo(fifo) }));
    await reader.kill();
    assert.equal((await bench.output('echo others')).stdout, 'others\n');
  });

  it('is made for its owner to write, and for nobody else to read', async () => {
    await using bench = await Workbench.open(runcSubject());
    const directory = join(bench.work, 'logs');
    mkdirSync(directory);
    const task = await bench.run('echo logged', { streams: logTo(join(directory, 'deeper/../../logs/log')) });
    assert.equal(await task.wait(), 0);
    await task.delete();
    assert.deepEqual(readdirSync(directory), ['log']);
    assert.equal(readFileSync(join(directory, 'log'), 'utf8'), 'logged\n');
    assert.equal(statSync(join(directory, 'log')).mode & 0o7777, 0o640);
  });
});

it('an exec cannot have the id of its container', { skip }, async () => {
  await using bench = await Workbench.open(runcSubject());
  const task = await bench.run('sleep 600');
  await rejects('INVALID_ARGUMENT', task.exec(task.id, 'exit 6'));
  assert.equal(await task.status(), 'running');
  await task.end();
});
