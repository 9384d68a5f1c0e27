import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { type BindirOptions, BindirVerifier } from './bindir-verifier.js';

const digest = `sha256:${'a'.repeat(64)}`;
const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 7 };

describe('verifiers of a directory', () => {
  let work: Scratch;
  let directory: string;
  let count = 0;

  before(async () => {
    work = await scratch('verifiers');
  });
  after(() => work[Symbol.asyncDispose]());
  beforeEach(async () => {
    directory = join(work.path, `bin${count++}`);
    await mkdir(directory);
  });

  const add = async (name: string, script: string, mode = 0o755) => {
    await writeFile(join(directory, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(directory, name), mode);
  };
  const verify = (options: Partial<BindirOptions> = {}) => {
    const all = { bin_dir: directory, max_verifiers: 10, per_verifier_timeout: 5000, ...options };
    const signal = new AbortController().signal;
    return new BindirVerifier(all, pino({ level: 'silent' })).verify({ name: 'r.io/a:b', target, signal });
  };

  it('allow everything where there are none', async () => {
    assert.equal((await verify()).accepted, true);
    assert.equal((await verify({ bin_dir: '/nonexistent/bin' })).accepted, true);
  });

  it('are told what it is about, in order, and give their reasons', async () => {
    await add('20-second', 'cat >&2; echo fine');
    await add('10-first', 'echo "$1 $2 $3 $4 $5 $6 $(cat) $HOME"');
    const { accepted, reason } = await verify();
    assert.ok(accepted);
    const said = `-name r.io/a:b -digest ${digest} -stdin-media-type application/vnd.oci.descriptor.v1+json`;
    assert.equal(reason, `10-first => ${said} ${JSON.stringify(target)}, 20-second => fine`);
  });

  it('must all agree', async () => {
    await add('a', 'exit 0');
    await add('b', 'printf "no\\033[2J \\n"; exit 3');
    await add('c', `touch ${directory}/../asked`);
    assert.deepEqual(await verify(), { accepted: false, reason: 'verifier b rejected image (exit code 3): no [2J' });
  });

  it('block what they cannot judge', async () => {
    await add('hangs', 'sleep 60');
    const started = performance.now();
    await assert.rejects(verify({ per_verifier_timeout: 200 }), { code: 'DEADLINE_EXCEEDED', message: /"hangs"/ });
    assert.ok(performance.now() - started < 5000);
    await add('cannot', 'exit 0', 0o644);
    await assert.rejects(verify(), { code: 'FAILED_PRECONDITION', message: /"cannot" cannot be run/ });
  });

  it('are heard for 32 KiB, whatever they say', async () => {
    await add('floods', 'head -c 50000000 /dev/zero | tr "\\0" x; exit 1');
    const { accepted, reason } = await verify();
    assert.equal(accepted, false);
    assert.ok(reason.length < 33 * 1024);
  });

  it('block everything when there are more than may be asked', async () => {
    for (const name of ['a', 'b', 'c']) await add(name, 'exit 0');
    await assert.rejects(verify({ max_verifiers: 2 }), { code: 'FAILED_PRECONDITION', message: /more than 2/ });
    assert.equal((await verify({ max_verifiers: -1 })).accepted, true);
  });
});
