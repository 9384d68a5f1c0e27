/** Containers that flood their outputs, or never read: attack 82 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { withTerminal } from '../../lib/oci/runtime-spec.js';
import type { Fifos } from '../../test/conformance/container.js';
import { inTime, type TaskHandle, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { Background } from '../../test/harness/command.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

const skip = (await runcSubject().unavailable()) ?? false;

const MEBIBYTE = 1 << 20;
const KIBIBYTE = 1 << 10;
/** What a flood may add to the most memory that a process has had until then. */
const BOUND = 16 * MEBIBYTE;

/** The most memory that a process has had resident, in bytes (proc(5), VmHWM). */
function peakOf(pid: number): number {
  const [, kibibytes = ''] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kibibytes) * KIBIBYTE;
}

/** Bytes that the process has written in its life (proc(5), io). */
function writtenBy(pid: number): number {
  const [, bytes = ''] = /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8')) ?? [];
  return Number(bytes);
}

const stateOf = (pid: number): string => /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';

/** A bench on which everything has been done once, so that what grows from now on is of the flood. */
async function open() {
  const bench = await Workbench.open(runcSubject({ idle: 60_000 }));
  const fifos = await bench.fifos();
  const warm = await bench.run('exit 0', { streams: fifos.terminal, changes: [withTerminal] });
  await warm.wait();
  await warm.delete();
  await bench.output('echo warm');
  const [supervisor = 0] = await supervisorsBelow(bench.work);
  const pids = { supervisor, daemon: process.pid };
  const before = { supervisor: peakOf(supervisor), daemon: peakOf(process.pid) };
  return {
    bench,
    /** Others go on, and neither supervisor nor daemon holds what floods. */
    async others(): Promise<void> {
      assert.equal((await bench.output('echo others; exit 3')).stdout, 'others\n');
      for (const who of ['supervisor', 'daemon'] as const) {
        const grown = peakOf(pids[who]) - before[who];
        assert.ok(grown < BOUND, `the ${who} has grown by ${grown} bytes`);
      }
    },
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

/** A client that reads an output to its end and counts the bytes: `wc -c`, or what else is given. */
const counter = (fifo: string, program = 'wc -c'): Background =>
  new Background('sh', ['-c', `${program} <"$1"`, 'sh', fifo]);

const flooding = (fifos: Fifos, terminal: boolean) => ({
  streams: terminal ? fifos.terminal : fifos.output,
  changes: terminal ? [withTerminal] : [],
});

async function finish(task: TaskHandle, status: number): Promise<void> {
  assert.equal(await inTime('the exit', task.wait(), 120_000), status);
  await task.delete();
}

describe('a container', { skip }, () => {
  it('that floods its output with a gigabyte in one line: all of it arrives, and none is held', async () => {
    await using setup = await open();
    const { bench, others } = setup;
    const fifos = await bench.fifos();
    await using client = counter(fifos.stdout);
    const task = await bench.run('dd if=/dev/zero bs=1048576 count=1024 2>/dev/null; exit 5', flooding(fifos, false));
    await others();
    await finish(task, 5);
    assert.equal(Number((await client.end()).stdout), 1024 * MEBIBYTE);
    await others();
  });

  it('that floods a terminal: all of it arrives in order, and none is held', async () => {
    await using setup = await open();
    const { bench, others } = setup;
    const fifos = await bench.fifos();
    const last = 1_500_000;
    // Numbers whose predecessor is not the one before them, and the last one.
    const check = `tr -d '\\r' | awk '$1 != NR { wrong++ } END { print wrong + 0, NR }'`;
    await using client = new Background('sh', ['-c', `cat "$1" | ${check}`, 'sh', fifos.stdout]);
    const task = await bench.run(`seq 1 ${last}; exit 6`, flooding(fifos, true));
    await others();
    await finish(task, 6);
    assert.equal((await client.end()).stdout, `0 ${last}\n`);
    await others();
  });

  for (const terminal of [false, true]) {
    it(`that floods ${terminal ? 'a terminal' : 'its output'} whose client never reads waits alone`, async () => {
      await using setup = await open();
      const { bench, others } = setup;
      const fifos = await bench.fifos();
      // It has the output open, and stands still.
      await using client = counter(fifos.stdout);
      process.kill(client.pid, 'SIGSTOP');
      const task = await bench.run('exec yes', flooding(fifos, terminal));
      await until('it waits', () => stateOf(task.pid) === 'S');
      for (let i = 0; i < 3; i++) await others();
      assert.equal(await task.status(), 'running');
      await inTime('its end', task.end());
    });

    it(`that never reads ${terminal ? 'its terminal' : 'its input'} stops the client that writes, and nobody else`, async () => {
      await using setup = await open();
      const { bench, others } = setup;
      const fifos = await bench.fifos();
      const streams = terminal ? fifos.terminal : fifos.all;
      // Raw, so that the terminal throws nothing away either.
      const script = terminal ? 'stty raw -echo; exec sleep 600' : 'exec sleep 600';
      const task = await bench.run(script, { streams, changes: terminal ? [withTerminal] : [] });
      await using client = new Background('dd', ['if=/dev/zero', `of=${fifos.stdin}`, 'bs=65536', 'status=none']);
      await until('the client waits', () => writtenBy(client.pid) > 0 && stateOf(client.pid) === 'S');
      const written = writtenBy(client.pid);
      for (let i = 0; i < 3; i++) await others();
      assert.ok(writtenBy(client.pid) - written < MEBIBYTE, 'the client goes on waiting');
      await task.end();
    });
  }

  it('that closes its outputs runs on, and its reader has the end only with it', async () => {
    await using setup = await open();
    const { bench, others } = setup;
    const fifos = await bench.fifos();
    const { stdout, stderr } = fifos.readers();
    const task = await bench.run('echo first; exec >&- 2>&-; while [ ! -e /tmp/go ]; do usleep 5000; done; exit 7', {
      streams: fifos.all,
    });
    await until('what it wrote', () => stdout.text === 'first\n');
    await others();
    assert.equal(await task.status(), 'running');
    await task.exec('go', 'touch /tmp/go');
    await task.start('go');
    await finish(task, 7);
    assert.deepEqual(await inTime('the ends', Promise.all([stdout.all(), stderr.all()])), ['first\n', '']);
  });
});
