import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Any } from '../../api/gen/google/protobuf/any.js';
import type { ApplyLayer } from '../../kernel/contracts/diff.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { eventually } from '../../test/harness/eventually.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { bind, TestDiffer } from '../../test/harness/unpack.js';
import { archive, file } from '../../test/hostile/tar.js';
import { processorTable, type StreamProcessorTable } from './processor-table.js';
import { StreamProcessors } from './stream-processors.js';

const BASE64 = `${OCI_LAYER_GZIP}+base64`;
const TWICE = `${BASE64}+base64`;
/** More than pipes and slabs hold. */
const layer = archive(file('a', 'x'.repeat(3_000_000)));
const gzipped = gzipSync(layer, { level: 0 });
const encoded = Buffer.from(gzipped.toString('base64'));

const failsWith = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === code && pattern.test(error.message);

describe('stream processors', () => {
  let real: TestDiffer;
  let directory: Scratch;
  before(async () => {
    real = new TestDiffer();
    directory = await scratch('processors');
  });
  after(async () => {
    await real[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  /** A processor of that shell script, which makes a gzip layer of base64. */
  const script = (text: string, more: { accepts?: string[]; returns?: string; env?: string[] } = {}) => ({
    accepts: [BASE64],
    returns: OCI_LAYER_GZIP,
    path: '/bin/sh',
    args: ['-c', text],
    env: [],
    ...more,
  });

  /** Unpacks `bytes` in two pieces below a directory of its own. */
  async function apply(
    table: StreamProcessorTable,
    bytes: Buffer,
    options: Partial<ApplyLayer> & { readonly patience?: number } = {},
  ) {
    await using target = await scratch('processed');
    const { patience = 20_000, ...rest } = options;
    const processors = new StreamProcessors(table, patience);
    const opened = { mediaType: BASE64, mounts: [bind(target.path)], ...rest };
    const sink = await processors.open(opened, (inner) => real.differ.open(inner));
    try {
      await sink.write(bytes.subarray(0, bytes.length / 2));
      await sink.write(bytes.subarray(bytes.length / 2));
      const applied = await sink.end();
      return { ...applied, content: readFileSync(join(target.path, 'a'), 'utf8') };
    } finally {
      await sink.abort();
    }
  }

  it('turn a layer into one that the differ knows, while its bytes arrive', async () => {
    const digest = digestOf(encoded);
    const { diffId, size, content } = await apply({ b64: script('base64 -d') }, encoded, { digest });
    assert.deepEqual([diffId, size, content.length], [digestOf(layer), layer.length, 3_000_000]);
  });

  it('are put after one another until a media type is reached that no one takes', async () => {
    const outer = { ...script('base64 -d', { accepts: [TWICE], returns: BASE64 }), path: 'sh' };
    const table = { outer, inner: script('base64 -d') };
    const twice = Buffer.from(encoded.toString('base64'));
    const { diffId } = await apply(table, twice, { mediaType: TWICE, digest: digestOf(twice) });
    assert.equal(diffId, digestOf(layer));
  });

  it('leave layers of other media types alone', async () => {
    assert.equal(
      (await apply({ b64: script('exit 1') }, gzipped, { mediaType: OCI_LAYER_GZIP })).diffId,
      digestOf(layer),
    );
  });

  it('have their media type and their own variables beside those of the daemon, and their payload on descriptor 3', async () => {
    const said = join(directory.path, 'said');
    const tell =
      'printf "%s %s " "$STREAM_PROCESSOR_MEDIATYPE" "$MINE" >$SAID; test -n "$PATH" && cat <&3 >>$SAID; base64 -d';
    const table = { b64: script(tell, { env: ['MINE=a=b', `SAID=${said}`] }) };
    const payload = { typeUrl: 'type.example/Keys', value: Buffer.from('secret') };
    await apply(table, encoded, { payloads: { b64: payload, other: { typeUrl: 'x', value: Buffer.alloc(0) } } });
    const expected = Buffer.from(Any.encode(payload).finish());
    assert.deepEqual(await readFile(said), Buffer.concat([Buffer.from(`${BASE64} a=b `), expected]));
  });

  it('get no descriptor 3 without a payload', async () => {
    assert.equal(
      (await apply({ b64: script('test ! -e /proc/self/fd/3 && base64 -d') }, encoded)).diffId,
      digestOf(layer),
    );
  });

  it('that fail say why, with what they printed', async () => {
    const failing = apply({ b64: script('base64 -d; printf "no\\033[2Jkey" >&2; exit 3') }, encoded);
    await assert.rejects(
      failing,
      failsWith('FAILED_PRECONDITION', /processor "b64" ended with status 3: no \[2Jkey; /),
    );
  });

  it('that fail at once need not read anything', async () => {
    await assert.rejects(apply({ b64: script('exit 4') }, encoded), failsWith('FAILED_PRECONDITION', /status 4/));
  });

  it('that are killed count as failed', async () => {
    const killed = apply({ b64: script('kill -9 $$') }, encoded);
    await assert.rejects(killed, failsWith('FAILED_PRECONDITION', /ended with status 137/));
  });

  it('that are not there are named before anything is unpacked', async () => {
    const absent = { ...script(''), path: 'no-such-program', args: [] };
    await assert.rejects(
      apply({ absent }, encoded),
      failsWith('FAILED_PRECONDITION', /"absent": program "no-such-program" is in no directory of PATH; install it/),
    );
    const path = join(directory.path, 'not-executable');
    await writeFile(path, '#!/bin/sh\n');
    await chmod(path, 0o600);
    await assert.rejects(
      apply({ absent: { ...absent, path } }, encoded),
      failsWith('FAILED_PRECONDITION', /not-executable" cannot be run: /),
    );
  });

  for (const [name, text] of [
    ['hang while they are given bytes', 'sleep 1000 & echo $! >$MARK; wait'],
    ['hang when they have everything', 'cat >/dev/null; sleep 1000 & echo $! >$MARK; wait'],
    ['leave a child behind that keeps their output open', 'cat >/dev/null; sleep 1000 & echo $! >$MARK'],
  ] as const)
    it(`that ${name} are ended, with all they started`, async () => {
      const mark = join(directory.path, `mark of ${text.length}`);
      const table = { b64: script(text, { env: [`MARK=${mark}`] }) };
      await assert.rejects(
        // Enough for a script to begin on a slow machine: what it started must be known to the test.
        apply(table, encoded, { patience: 5000 }),
        failsWith('DEADLINE_EXCEEDED', /processor "b64" did nothing for 5 s; /),
      );
      const child = readFileSync(mark, 'utf8').trim();
      await eventually('its child has ended', () => (isRunning(child) ? undefined : true));
    });

  it('are not hurried while it is the layer that is waited for', async ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    await using target = await scratch('processed');
    const processors = new StreamProcessors({ b64: script('base64 -d') }, 1000);
    const open = { mediaType: BASE64, mounts: [bind(target.path)] };
    const sink = await processors.open(open, (inner) => real.differ.open(inner));
    try {
      await sink.write(encoded.subarray(0, 1000));
      mock.timers.tick(3_600_000);
      await sink.write(encoded.subarray(1000));
      assert.equal((await sink.end()).diffId, digestOf(layer));
    } finally {
      await sink.abort();
    }
  });

  it('end when unpacking is stopped', async () => {
    const stopping = new AbortController();
    const mark = join(directory.path, 'mark of a stopped one');
    const table = { b64: script('echo $$ >$MARK; exec sleep 1000', { env: [`MARK=${mark}`] }) };
    const applying = apply(table, encoded, { signal: stopping.signal });
    const pid = await eventually('it runs', () => (existsSync(mark) && readFileSync(mark, 'utf8').trim()) || undefined);
    stopping.abort();
    await assert.rejects(applying, (error) => hasCode(error, 'CANCELED'));
    assert.ok(!isRunning(pid));
  });

  it('do not hide that the layer is another one, nor that it is broken', async () => {
    const table = { b64: script('base64 -d') };
    const other = apply(table, encoded, { digest: digestOf(layer) });
    await assert.rejects(other, failsWith('FAILED_PRECONDITION', /has the digest/));
    const broken = Buffer.from(Buffer.concat([gzipped.subarray(0, 2_000_000), Buffer.alloc(30, 1)]).toString('base64'));
    await assert.rejects(apply(table, broken), (error) => hasCode(error, 'INVALID_ARGUMENT'));
  });

  it('are one thing for each media type, and come to an end', () => {
    const messages = (table: object) => processorTable.safeParse(table).error?.issues.map(({ message }) => message);
    assert.equal(messages({ a: script('x') }), undefined);
    assert.deepEqual(messages({ a: script('x'), b: script('y') }), [`"${BASE64}" is accepted by "a" too`]);
    const loop = { a: script('x', { returns: OCI_LAYER }), b: script('y', { accepts: [OCI_LAYER], returns: BASE64 }) };
    assert.deepEqual(messages(loop), [
      `what becomes of "${BASE64}" comes to "a" again`,
      `what becomes of "${OCI_LAYER}" comes to "b" again`,
    ]);
    assert.deepEqual(messages({ a: { ...script('x'), path: 'bin/x' } }), [
      'an absolute path is expected, or a name to be found in PATH',
    ]);
  });
});

function isRunning(pid: string): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
