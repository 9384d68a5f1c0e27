/** `keelson conformance` from the packed tarball, against packages and against sockets. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
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

/** A package whose plugin is one of the tree under another name, as an author's own module would export it. */
async function renamed(base: string, wireId: string, more: string): Promise<string> {
  const place = await newPackage(`conformance-own-${base}`);
  const manifest = { name: `keelson-own-${base}`, version: '1.0.0', type: 'module', exports: './index.js' };
  await writeFile(join(place, 'package.json'), JSON.stringify(manifest));
  await writeFile(
    join(place, 'index.js'),
    `import { gzipSync } from 'node:zlib';
    import { builtins } from 'keelson/builtins';
    const { plugin: tree } = await builtins['${base}']();
    export const plugin = { ...tree, id: 'own-${base}', wire: { ...tree.wire, id: '${wireId}' } };
    ${more}`,
  );
  return place;
}

/** Nothing is collected but when that is asked for. */
const STILL = 'gc = { startup_delay = "10h", mutation_threshold = 0, deletion_threshold = 0 }';

/** The same, as containerd is told. */
const STOCK_STILL = `[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "10h"
mutation_threshold = 0
deletion_threshold = 0
`;

const runtimeDirectories = (): readonly string[] => globSync('/run/containerd/runc/conformance-*');

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

  it('reads back the layers that a package makes', async () => {
    const tar = 'application/vnd.oci.image.layer.v1.tar';
    const encodings = `{ '${tar}': (archive) => archive, '${tar}+gzip': (archive) => gzipSync(archive) }`;
    const place = await renamed('diff', 'own', `export const encodings = ${encodings};`);
    assert.match(await passes(5, place, '--only', 'layer', '--verbose'), /ok {4}makes a layer that turns the one tree/);
  });

  it('looks at the records of a package, as it is configured', async () => {
    const place = await renamed('metadata', 'own', '');
    const file = join(place, 'still.toml');
    await writeFile(
      file,
      `[plugins.own-metadata]\npath = ${JSON.stringify(place)}\n[plugins.own-metadata.config]\n${STILL}\n`,
    );
    await passes(6, place, '--config', file, '--only', 'https://');
  });

  it('looks at the sandbox controller of a package', async () => {
    const place = await newPackage('conformance-own-pods');
    const manifest = { name: 'keelson-own-pods', version: '1.0.0', type: 'module', exports: './index.js' };
    await writeFile(join(place, 'package.json'), JSON.stringify(manifest));
    await writeFile(
      join(place, 'index.js'),
      `import { SandboxControllers } from 'keelson/contracts/sandbox-controllers';
      import { MemorySandboxController, providing } from 'keelson/testing';
      export const plugin = providing(SandboxControllers, new MemorySandboxController(), 'own');`,
    );
    await passes(12, place);
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
    await passes(140, daemon.address, '--kit', 'daemon,content,events,differ,snapshotter', '--cannot', OVERLAY);
    // these two run whole over gRPC elsewhere: here, that the command opens them
    await passes(5, daemon.address, '--kit', 'runtime', '--only', 'https://');
  });

  it('looks at the records of a daemon that collects only when asked', async () => {
    await using daemon = await Daemon.start({ kind: 'keelsond', config: `[plugins.metadata.config]\n${STILL}\n` });
    await passes(15, daemon.address, '--kit', 'metadata', '--only', 'are ');
    const { stdout } = await run('/usr/bin/ctr', ['--address', daemon.address, 'namespaces', 'ls', '-q']);
    assert.doesNotMatch(stdout, /^kit-/m, 'it leaves no namespace');
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

  it("looks at the runtime of Debian's containerd", async () => {
    await using daemon = await Daemon.start({ kind: 'containerd' });
    const before = runtimeDirectories();
    const cannot = ['--cannot', 'keepUnreadOutput,startWithoutReader,resizeBeforeStart,reattachTerminal'];
    await passes(5, daemon.address, '--kit', 'runtime', '--only', 'https://', ...cannot);
    const signals = ['--only', 'refuses signals that do not exist'];
    const { stdout, code } = await conformance(daemon.address, '--kit', 'runtime', ...signals, ...cannot);
    assert.equal(code, 1);
    assert.match(stdout, /FAIL {2}refuses signals that do not exist/);
    // runc's own directories, which Debian's shim leaves by habit
    for (const path of runtimeDirectories()) if (!before.includes(path)) await rm(path, { recursive: true });
  });

  it("looks at the records of Debian's containerd, when it collects only when asked", async () => {
    await using daemon = await Daemon.start({ kind: 'containerd', config: STOCK_STILL });
    for (const check of ['issues/3394', 'issues/2494'])
      await passes(1, daemon.address, '--kit', 'metadata', '--only', check);
    const insisting = ['--only', 'deletion may insist on a target'];
    const { stdout, code } = await conformance(daemon.address, '--kit', 'metadata', ...insisting);
    assert.equal(code, 1);
    assert.match(stdout, /FAIL {2}deletion may insist on a target/);
    const { stdout: left } = await run('/usr/bin/ctr', ['--address', daemon.address, 'namespaces', 'ls', '-q']);
    assert.doesNotMatch(left, /^kit-/m, 'it leaves no namespace');
  });
});
