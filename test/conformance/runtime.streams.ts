import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { withTerminal } from '../../lib/oci/runtime-spec.js';
import { NO_STREAMS, Reader, Writer } from './container.js';
import type { Checks } from './runtime.js';
import { inTime, scope, until } from './runtime.workbench.js';

const MEBIBYTE = 1 << 20;

export const streamChecks: Checks = {
  'passes input on, and its end when that is asked for': async (bench) => {
    const fifos = await bench.fifos();
    const { stdout: reader } = fifos.readers();
    const task = await bench.run('cat; echo end', { streams: fifos.all });
    const writer = new Writer(fifos.stdin);
    writer.write('one\n');
    await until('the first line', () => reader.text === 'one\n');
    writer.write('two\n');
    await until('the second line', () => reader.text === 'one\ntwo\n');
    await writer.end();
    await bench.runtime.closeStdin(scope, task.process());
    assert.equal(await task.wait(), 0);
    assert.equal(await inTime('end of output', reader.all()), 'one\ntwo\nend\n');
    await task.delete();
  },

  'keeps the input open when a client leaves, for the next one': async (bench) => {
    const fifos = await bench.fifos();
    const { stdout: reader } = fifos.readers();
    const task = await bench.run('cat; echo end', { streams: fifos.all });
    for (const line of ['one\n', 'two\n']) {
      const writer = new Writer(fifos.stdin);
      writer.write(line);
      await writer.end();
      await until('it has arrived', () => reader.text.endsWith(line));
    }
    assert.equal(await task.status(), 'running');
    await bench.runtime.closeStdin(scope, task.process());
    assert.equal(await task.wait(), 0);
    assert.equal(await inTime('end of output', reader.all()), 'one\ntwo\nend\n');
    await task.delete();
  },

  'passes a flood on whole': async (bench) => {
    const { stdout, status } = await bench.output('head -c 50000000 /dev/zero | busybox tr "\\0" x; echo; exit 9');
    assert.equal(stdout.length, 50_000_001);
    assert.equal(status, 9);
  },

  'starts at once though nobody reads, and does not let that hold up others': async (bench, can) => {
    if (!can.startWithoutReader) return;
    const fifos = await bench.fifos();
    const begin = performance.now();
    const stuck = await bench.run('yes', { streams: fifos.output });
    assert.ok(performance.now() - begin < 3000);
    assert.equal((await bench.output('echo others')).stdout, 'others\n');
    assert.equal(await stuck.status(), 'running');
    await inTime('end of the stuck task', stuck.end(), 5000);
  },

  'survives a reader that leaves': async (bench, can) => {
    if (!can.outliveReader) return;
    const fifos = await bench.fifos();
    const { stdout: first } = fifos.readers();
    const task = await bench.run('i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); usleep 10000; done; exit 6', {
      streams: fifos.output,
    });
    await until('some lines', () => first.text.length > 10);
    await first.kill();
    const second = new Reader(fifos.stdout);
    assert.equal(await task.wait(), 6);
    assert.match(await inTime('end of output', second.all()), /\n39\n$/);
    await task.delete();
  },

  'keeps what was written for a reader that comes late': async (bench, can) => {
    if (!can.keepUnreadOutput) return;
    const fifos = await bench.fifos();
    const task = await bench.run('echo late', { streams: fifos.output });
    await task.wait();
    await delay(300);
    const reader = new Reader(fifos.stdout);
    assert.equal(await inTime('end of output', reader.all()), 'late\n');
    await task.delete();
  },

  'appends to a file': async (bench) => {
    const path = join(bench.work, 'logs/deep/out.log');
    const streams = { ...NO_STREAMS, stdout: `file://${path}`, stderr: `file://${path}` };
    let before = '';
    for (const word of ['one', 'two']) {
      const task = await bench.run(`echo ${word}; echo ${word}-err >&2`, { streams });
      await task.wait();
      await task.delete();
      const text = await readFile(path, 'utf8');
      assert.ok(text.startsWith(before), text);
      // Which of two streams is first there is up to a runtime that copies them.
      assert.deepEqual(text.slice(before.length).split('\n').sort(), ['', word, `${word}-err`]);
      before = text;
    }
  },

  'gives a logging program both streams, its arguments and its environment': async (bench) => {
    const program = join(bench.work, 'logger.sh');
    const log = join(bench.work, 'logger.out');
    await writeFile(
      program,
      `#!/bin/sh
trap "" TERM
exec 5>&-
echo "$CONTAINER_NAMESPACE $CONTAINER_ID $*" > ${log}
cat <&3 >> ${log}
cat <&4 >> ${log}
echo done >> ${log}
`,
    );
    await chmod(program, 0o755);
    const streams = { ...NO_STREAMS, stdout: `binary://${program}?key=value`, stderr: `binary://${program}?key=value` };
    const task = await bench.run('echo out; echo err >&2', { streams });
    await task.wait();
    await task.delete();
    const text = (): Promise<string> => readFile(log, 'utf8');
    await until('the logger has ended', async () => (await text()).endsWith('done\n'));
    assert.equal(await text(), `${scope.namespace} ${task.id} key value\nout\nerr\ndone\n`);
  },

  'refuses a logging program that is missing, and an unknown scheme': async (bench) => {
    for (const stdout of [`binary://${bench.work}/none`, 'gopher://x/y', '/no/such/fifo']) {
      await assert.rejects(bench.create('true', { streams: { ...NO_STREAMS, stdout } }), stdout);
    }
  },

  'runs without streams': async (bench) => {
    const task = await bench.run('cat; echo nobody hears; exit 2');
    assert.equal(await task.wait(), 2);
    await task.delete();
  },

  'gives a terminal, and resizes it': async (bench) => {
    const fifos = await bench.fifos();
    const reader = new Reader(fifos.stdout);
    const task = await bench.create('stty size; read line; echo got $line; stty size; exit 8', {
      streams: fifos.terminal,
      changes: [withTerminal],
    });
    await bench.runtime.resize(scope, task.process(), { width: 91, height: 37 });
    await task.start();
    const writer = new Writer(fifos.stdin);
    await until('the first size', () => reader.text.includes('37 91'));
    await bench.runtime.resize(scope, task.process(), { width: 120, height: 50 });
    writer.write('hello\n');
    assert.equal(await task.wait(), 8);
    const text = await inTime('end of output', reader.all());
    assert.match(text, /got hello\r\n50 120\r\n$/);
    await writer.end();
    await task.delete();
  },

  'shows the last words of a terminal': async (bench) => {
    for (let i = 0; i < 5; i++) {
      const fifos = await bench.fifos();
      const reader = new Reader(fifos.stdout);
      const task = await bench.run('seq 1 2000', { streams: fifos.terminal, changes: [withTerminal] });
      assert.equal(await task.wait(), 0);
      assert.match(await inTime('end of output', reader.all()), /\r\n1999\r\n2000\r\n$/);
      await task.delete();
    }
  },

  'serves the next client of a terminal when one has left': async (bench, can) => {
    if (!can.reattachTerminal) return;
    const fifos = await bench.fifos();
    const first = { reader: new Reader(fifos.stdout), writer: new Writer(fifos.stdin) };
    const task = await bench.run('while read line; do echo "<$line>"; done', {
      streams: fifos.terminal,
      changes: [withTerminal],
    });
    first.writer.write('a\n');
    await until('the first answer', () => first.reader.text.includes('<a>'));
    await first.reader.kill();
    await first.writer.kill();
    const second = { reader: new Reader(fifos.stdout), writer: new Writer(fifos.stdin) };
    second.writer.write('b\n');
    await until('the second answer', () => second.reader.text.includes('<b>'));
    second.writer.write('\x04');
    assert.equal(await task.wait(), 0);
    await inTime('end of output', second.reader.all());
    await second.writer.end();
    await task.delete();
  },

  'holds up nobody by a terminal that floods an idle reader': async (bench, can) => {
    if (!can.startWithoutReader) return;
    const fifos = await bench.fifos();
    const flood = await bench.run('yes', { streams: fifos.terminal, changes: [withTerminal] });
    const before = process.memoryUsage().rss;
    const begin = performance.now();
    for (let i = 0; i < 3; i++) assert.equal((await bench.output(`echo ${MEBIBYTE}`)).stdout, `${MEBIBYTE}\n`);
    assert.ok(performance.now() - begin < 10_000);
    assert.ok(process.memoryUsage().rss - before < 64 * MEBIBYTE);
    await inTime('end of the flood', flood.end(), 5000);
  },
};
