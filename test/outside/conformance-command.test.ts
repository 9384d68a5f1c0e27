/** `keelson conformance` from the packed tarball, against packages and against sockets. */
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Outcome, run, succeed } from '../harness/command.js';
import { Daemon } from '../harness/daemon.js';
import { outside, programIn, TOP } from '../harness/outside.js';

const { directory, package: newPackage } = await outside();

const conformance = (...args: readonly string[]): Promise<Outcome> =>
  run(programIn(directory, 'keelson'), ['conformance', ...args], { env: { KEELSON_CONFORMANCE_REQUIRED: '1' } });

async function passes(atLeast: number, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr, code } = await conformance(...args);
  assert.equal(code, 0, stdout + stderr);
  const [, passed] = /^(\d+) passed, 0 failed, 0 skipped$/m.exec(stdout) ?? [];
  assert.ok(Number(passed) >= atLeast, stdout);
  return stdout;
}

async function built(example: string, change = (text: string): string => text): Promise<string> {
  const place = await newPackage(`conformance-${example}`);
  await cp(join(TOP, 'examples', example), place, { recursive: true });
  const source = join(place, 'src/index.ts');
  await writeFile(source, change(await readFile(source, 'utf8')));
  await succeed(programIn(directory, 'tsc'), ['-p', place]);
  return place;
}

/** What overlayfs of these kernels does not do. */
const OVERLAY = 'renameParentsDirectory,writeThroughParentsHardlinks';

describe('keelson conformance PACKAGE', () => {
  it('runs the kit of what a package provides', async () => {
    assert.match(
      await passes(4, await built('snapshot-copy'), '--only', 'keeps'),
      /^snapshot-copy: io\.containerd\.snapshotter\.v1\.copy$/m,
    );
    await passes(20, await built('differ-brotli'));
    await passes(7, await built('service-greeter'));
  });

  it('tells what is broken, and fails', async () => {
    const place = await built('service-greeter', (text) => text.replace("fullName: 'example.", "fullName: 'Example-"));
    const { stdout, code } = await conformance(place);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /^ {2}FAIL {2}has a full name and methods of the form that protobuf gives them/m);
    assert.match(stdout, /^\d+ passed, 1 failed/m);
  });

  it('refuses what is no plugin, and capabilities that no kit asks for', async () => {
    const nothing = await conformance('./no-such-thing');
    assert.deepEqual([nothing.code, /no-such-thing/.test(nothing.stderr)], [1, true]);
    const strange = await conformance(await built('snapshot-copy'), '--cannot', 'fly');
    assert.equal(strange.code, 1);
    assert.match(strange.stderr, /no kit that runs asks for "fly"; these are asked: .*rebase/);
  });
});

describe('keelson conformance SOCKET', () => {
  it('finds that our daemon keeps everything', async () => {
    await using daemon = await Daemon.start({ kind: 'keelsond' });
    await passes(120, daemon.address, '--cannot', OVERLAY);
  });

  it("finds that Debian's containerd keeps what it claims, and tells where it does not", async () => {
    await using daemon = await Daemon.start({ kind: 'containerd' });
    await passes(
      28,
      daemon.address,
      '--cannot',
      'explainFilters,announceSubscriptions,explainDeadlines,leaveQuietly',
      '--kit',
      'daemon,events',
    );
    const { stdout, code } = await conformance(
      daemon.address,
      '--kit',
      'content',
      '--only',
      'INVALID_ARGUMENT everywhere',
    );
    assert.equal(code, 1);
    assert.match(stdout, /FAIL {2}digest "sha256:" is INVALID_ARGUMENT everywhere/);
  });
});
