import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { stringify } from 'smol-toml';
import { z } from 'zod';
import { builtins } from '../../config/builtins.js';
import { definePlugin } from '../../kernel/plugin.js';
import { VERSION } from '../../lib/version.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { examine, isSafeRunc } from './doctor.js';
import { drawGraph } from './graph.js';
import { controllersOf, mountOptionsFinding, namespacesFinding, processesFinding, socket } from './host-checks.js';

const execute = promisify(execFile);
const keelson = (...args: string[]) => execute(process.execPath, [join(import.meta.dirname, 'main.js'), ...args]);

/** Cells of the lines of a table. */
const cells = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/ {3,}/));

const skipper = definePlugin({
  id: 'zfs',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'zfs' },
  config: z.object({}).strict(),
  requires: {},
  provides: {},
  start: async ({ skip }) => skip('no pool of that name'),
});

describe('keelson plugins', () => {
  it('shows those of a running daemon with status, start time, source and reason', async () => {
    await using directory = await scratch('keelson');
    const address = join(directory.path, 'd.sock');
    const config = { 'server-grpc': { address } };
    const plugins = ['introspection', 'version', 'server-grpc', skipper];
    const settings = { zfs: { required: false } };
    await using kernel = await startTestKernel({ plugins, config, settings });
    assert.ok(kernel.report);
    const rows = cells((await keelson('-a', address, 'plugins')).stdout);
    assert.deepEqual(rows[0], ['TYPE', 'ID', 'PLUGIN', 'STATUS', 'START', 'VERSION', 'SOURCE', 'REASON']);
    const zfs = rows.find(([, id]) => id === 'zfs');
    assert.deepEqual(
      [zfs?.slice(0, 4), zfs?.slice(5)],
      [
        ['io.containerd.snapshotter.v1', 'zfs', 'zfs', 'skip'],
        [VERSION, 'built-in', 'no pool of that name'],
      ],
    );
    assert.match(
      rows
        .find(([, , name]) => name === 'version')
        ?.slice(3)
        .join(' ') ?? '',
      /^ok [\d.]+ ms [\d.]+ built-in -$/,
    );
    const { stdout } = await keelson('-a', address, 'plugins', '--graph', 'dot');
    assert.match(stdout, /"server-grpc" -> "version" \[label="io\.containerd\.grpc\.v1"\];/);
  });

  it('shows what a configuration plans, without a daemon', async () => {
    await using directory = await scratch('keelson');
    const file = join(directory.path, 'c.toml');
    const disabled_plugins = Object.keys(builtins).filter((id) => !['version', 'server-grpc'].includes(id));
    writeFileSync(join(directory.path, 'package.json'), JSON.stringify({ name: 'broken', version: '3.2.1' }));
    writeFileSync(file, stringify({ disabled_plugins, plugins: { broken: { path: 'gone.js' } } }));
    const rows = cells((await keelson('plugins', '-c', file)).stdout);
    const statusOf = (name: string): string | undefined => rows.find(([, , found]) => found === name)?.[3];
    assert.deepEqual(['version', 'server-grpc', 'content', 'broken'].map(statusOf), [
      'planned',
      'planned',
      'disabled',
      'error',
    ]);
    const versionOf = (name: string): string | undefined => rows.find(([, , found]) => found === name)?.[5];
    assert.deepEqual(['version', 'broken'].map(versionOf), [VERSION, '3.2.1']);
    const { stdout } = await keelson('plugins', '-c', file, '--graph', 'text');
    assert.match(stdout, /^server-grpc +planned +version \(grpc-service@1\)$/m);
    writeFileSync(file, 'disabled_plugins = 5\n');
    await assert.rejects(
      keelson('plugins', '-c', file),
      /c\.toml:1:20: disabled_plugins: found number 5, expected list/,
    );
  });

  it('draws the graph in three ways', () => {
    const row = { type: 't', id: 'i', millis: '', version: '', source: '', reason: '' };
    const rows = [
      { ...row, name: 'store', status: 'ok' },
      { ...row, name: 'meta', status: 'error' },
    ];
    const overview = { rows, edges: [{ from: 'meta', to: 'store', label: 'store@1' }] };
    assert.equal(drawGraph(overview, 'text'), 'store  ok        -\nmeta   error     store (store@1)\n');
    assert.equal(
      drawGraph(overview, 'dot'),
      'digraph plugins {\n  rankdir=LR;\n  node [shape=box, style=filled];\n  "store" [fillcolor=palegreen];\n  "meta" [fillcolor=salmon];\n  "meta" -> "store" [label="store@1"];\n}\n',
    );
    assert.equal(
      drawGraph(overview, 'mermaid'),
      'graph LR\n  p0["store (ok)"]\n  p1["meta (error)"]\n  p1 -->|"store@1"| p0\n',
    );
  });
});

describe('keelson doctor', () => {
  it('says what to do about everything that is not well', async () => {
    const findings = await examine({ address: '/nowhere/d.sock', root: '/nowhere/root' });
    for (const { subject, verdict, remedy } of findings) assert.equal(verdict === 'ok', remedy === '', subject);
    const daemon = findings.find(({ subject }) => subject === 'daemon');
    assert.deepEqual([daemon?.verdict, daemon?.found], ['warn', 'no socket at /nowhere/d.sock']);
    const subjects = findings.map(({ subject }) => subject);
    assert.deepEqual(subjects, [
      ...['user', 'node', 'openat2', 'pidfd', 'overlay', 'btrfs', 'cgroups', 'controllers', 'namespaces', 'seccomp'],
      ...['runc', 'gzip', 'open files', 'processes', 'disk', 'mount options', 'socket', 'daemon'],
    ]);
  });

  it('asks a daemon, and tells when the socket is none', async () => {
    await using directory = await scratch('keelson');
    const address = join(directory.path, 'd.sock');
    {
      await using kernel = await startTestKernel({
        plugins: ['version', 'server-grpc'],
        config: { 'server-grpc': { address } },
      });
      assert.ok(kernel.report);
      const findings = await examine({ address, root: '/' });
      assert.equal(findings.find(({ subject }) => subject === 'daemon')?.verdict, 'ok');
    }
    writeFileSync(address, '');
    const findings = await examine({ address, root: '/' });
    assert.equal(findings.find(({ subject }) => subject === 'daemon')?.verdict, 'fail');
  });

  it('tells of sockets that anybody may use, of paths that are too long, and of what is no socket', async () => {
    await using directory = await scratch('keelson');
    const at = join(directory.path, 's');
    const server = createServer().listen(at);
    await once(server, 'listening');
    const verdictOn = async (address: string): Promise<string> => {
      const { verdict, remedy } = await socket({ address, root: '/' });
      return `${verdict} ${remedy}`.trim();
    };
    chmodSync(at, 0o660);
    assert.equal(await verdictOn(at), 'ok');
    chmodSync(at, 0o666);
    assert.equal(await verdictOn(at), `fail chmod 0660 ${at}`);
    server.close();
    await once(server, 'close');
    writeFileSync(at, '');
    assert.match(await verdictOn(at), /^fail remove it/);
    assert.match(await verdictOn(`/${'x'.repeat(107)}`), /^fail choose an --address of 107/);
    assert.equal(await verdictOn(`/${'x'.repeat(106)}`), 'ok');
  });

  it('tells of limits that are too low, each with what raises it', () => {
    const limits = (hard: string) => `Max processes             100                  ${hard}           processes\n`;
    assert.equal(processesFinding(limits('unlimited'), 32_768).found, 'at most 32768');
    assert.match(processesFinding(limits('1000'), 32_768).remedy, /LimitNPROC=/);
    assert.match(processesFinding(limits('unlimited'), 1000).remedy, /kernel\.pid_max/);
  });

  it('tells of namespaces that are missing or forbidden', () => {
    assert.equal(namespacesFinding(() => 1000).verdict, 'ok');
    assert.equal(
      namespacesFinding((name) => (name === 'user' ? 0 : 1)).remedy,
      'raise user.max_user_namespaces with sysctl',
    );
    assert.match(namespacesFinding((name) => (name === 'cgroup' ? undefined : 1)).found, /^no cgroup/);
  });

  it('tells of mount options that containers would inherit', () => {
    assert.equal(mountOptionsFinding('/var', ['rw', 'relatime']).verdict, 'ok');
    assert.equal(mountOptionsFinding('/var', ['rw', 'nosuid', 'nodev']).verdict, 'warn');
    assert.deepEqual(mountOptionsFinding('/var', ['rw', 'noexec']), {
      subject: 'mount options',
      verdict: 'fail',
      found: 'noexec at /var',
      remedy: 'no program of an image runs: mount /var without, or move "root"',
    });
  });

  it('finds the controllers of both versions of control groups', () => {
    const legacy = [
      { type: 'cgroup', superOptions: 'rw,memory' },
      { type: 'ext4', superOptions: 'rw,pids' },
    ];
    assert.deepEqual(controllersOf(legacy, 'cpu io\n'), ['cpu', 'io', 'rw', 'memory']);
  });

  it('knows which releases of runc have the fixes', () => {
    const safe = ['1.2.8', '1.2.9', '1.3.3', '1.4.0', '1.10.0', '2.0.0', '1.4.0-rc.3'];
    const unsafe = ['1.0.3', '1.1.5+ds1', '1.1.12', '1.2.7', '1.3.2', 'unknown'];
    assert.deepEqual([...safe, ...unsafe].filter(isSafeRunc), safe);
  });
});
