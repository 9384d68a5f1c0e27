/** Whole lives of tasks with a shim of each generation of the start protocol, and with shims that misbehave. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Envelope, Events } from '../../kernel/contracts/events.js';
import type { NewTask } from '../../kernel/contracts/runtime.js';
import { SPEC_URL } from '../../test/conformance/container.js';
import { inTime, until } from '../../test/conformance/runtime.workbench.js';
import { scratch } from '../../test/harness/scratch.js';
import type { Generation } from '../../test/harness/scripted-shim.js';
import { openShimRuntime, type ShimOverrides } from '../../test/harness/shim.js';

const SCRIPTED = fileURLToPath(new URL('../../test/harness/scripted-shim.js', import.meta.url));
const scope = { namespace: 'space' };
const streams = { terminal: false, stdin: '', stdout: '', stderr: '' };

class Seen implements Events {
  readonly all: Envelope[] = [];
  publish(namespace: string, topic: string, event: Envelope['event']): void {
    this.all.push({ timestamp: 0n, namespace, topic, event });
  }
  forward(envelope: Envelope): void {
    this.all.push(envelope);
  }
  async *subscribe(): AsyncIterable<Envelope> {}
  get topics(): string[] {
    return this.all.map(({ topic }) => topic);
  }
}

function program(directory: string, script: string): string {
  const path = join(directory, 'shim-program');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const task = (shim: string): NewTask => ({
  id: 'task',
  runtime: shim,
  spec: { typeUrl: SPEC_URL, value: Buffer.from('{}') },
  options: { typeUrl: 'scripted.Options', value: Buffer.from([8, 1]) },
  rootfs: [],
  ...streams,
});

/** Command lines of processes that have to do with a directory. */
const processesIn = (directory: string): string[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && existsSync(`/proc/${pid}/cmdline`))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        // It has ended meanwhile.
        return '';
      }
    })
    .filter((command) => command.includes(directory));

async function open(directory: string, overrides: ShimOverrides = {}) {
  const state = join(directory, 'state');
  await mkdir(state);
  const events = new Seen();
  const { runtime, close } = await openShimRuntime(state, events, overrides);
  return { runtime, events, bundles: join(state, scope.namespace), [Symbol.asyncDispose]: close };
}

describe('a shim of generation', () => {
  for (const generation of ['plain', 'json', 'json-grpc', 'bootstrap', 'bootstrap-grpc'] satisfies Generation[]) {
    it(`${generation} is started, runs a task, tells its exit, is found again and ends`, async () => {
      await using directory = await scratch('gen');
      const shim = program(directory.path, `exec "${process.execPath}" "${SCRIPTED}" "$@"`);
      await using opened = await open(directory.path, {
        environment: { SCRIPTED_SHIM: generation },
        loadDeadline: 10_000,
      });
      const { runtime, events, bundles } = opened;
      assert.deepEqual(await runtime.create(scope, task(shim)), { pid: 4242 });
      assert.deepEqual(await runtime.start(scope, { id: 'task' }), { pid: 4242 });
      assert.equal((await runtime.state(scope, { id: 'task' })).status, 'running');
      const waiting = runtime.wait(scope, { id: 'task' });
      await runtime.kill(scope, { id: 'task' }, 9);
      assert.equal((await inTime('the exit', waiting)).exitStatus, 137);
      assert.deepEqual(events.topics, ['/tasks/exit']);
      assert.equal((await runtime.delete(scope, { id: 'task' })).exitStatus, 137);
      assert.deepEqual([runtime.tasks('space'), readdirSync(bundles)], [[], []]);
      await until('the shim has ended', () => processesIn(directory.path).length === 0);
    });
  }
});

describe('a shim that', () => {
  /** What a program does, and how the create that meets it fails. */
  const misdeeds: Readonly<Record<string, readonly [script: string, code: string]>> = {
    'prints garbage': ['head -c 4096 /dev/urandom', 'UNAVAILABLE'],
    'prints without end': ['exec yes', 'DEADLINE_EXCEEDED'],
    'prints without end from a child': ['yes & exit 0', 'UNAVAILABLE'],
    'forks and exits': ['sleep 1000 & sleep 1001 & exit 0', 'UNAVAILABLE'],
    'never ends': ['exec sleep 1000', 'DEADLINE_EXCEEDED'],
    fails: ['echo "no luck" >&2; exit 3', 'UNAVAILABLE'],
    'names a socket that is not there': ['echo unix:///nowhere/s', 'UNAVAILABLE'],
    'names itself': ['echo "unix://$0"', 'UNAVAILABLE'],
    'names a socket elsewhere': ['echo vsock://3:1024', 'UNAVAILABLE'],
    'serves, but never answers': [
      `case "$*" in *start) "${process.execPath}" -e "require('net').createServer(() => {}).listen('s')" </dev/null >/dev/null 2>&1 &
       while [ ! -S s ]; do sleep 0.05; done; echo "unix://$PWD/s";; esac`,
      'DEADLINE_EXCEEDED',
    ],
    'serves, and answers with garbage': [
      `case "$*" in *start) "${process.execPath}" -e "require('net').createServer((c) => { c.on('error', () => {}); c.write('yes yes yes yes '.repeat(999)); }).listen('s')" </dev/null >/dev/null 2>&1 &
       while [ ! -S s ]; do sleep 0.05; done; echo "unix://$PWD/s";; esac`,
      'DEADLINE_EXCEEDED',
    ],
    'serves, and hangs up': [
      `case "$*" in *start) "${process.execPath}" -e "require('net').createServer((c) => c.destroy()).listen('s')" </dev/null >/dev/null 2>&1 &
       while [ ! -S s ]; do sleep 0.05; done; echo "unix://$PWD/s";; esac`,
      'UNAVAILABLE',
    ],
  };

  for (const [title, [script, code]] of Object.entries(misdeeds)) {
    it(`${title} leaves nothing, within 10 s`, async () => {
      await using directory = await scratch('bad');
      const shim = program(directory.path, script);
      await using opened = await open(directory.path, { loadDeadline: 3000 });
      const { runtime, events, bundles } = opened;
      const begin = performance.now();
      await assert.rejects(runtime.create(scope, task(shim)), { code });
      assert.ok(performance.now() - begin < 10_000);
      assert.deepEqual([runtime.tasks('space'), readdirSync(bundles), events.topics], [[], [], []]);
      await until('its processes are gone', () => processesIn(directory.path).length === 0);
    });
  }

  it('is no program, or climbs, is refused', async () => {
    await using directory = await scratch('bad');
    await using opened = await open(directory.path);
    const { runtime, bundles } = opened;
    const refused = {
      [directory.path]: 'NOT_FOUND',
      '../../x': 'INVALID_ARGUMENT',
      'io.containerd.../x.v1': 'INVALID_ARGUMENT',
    };
    for (const [name, code] of Object.entries(refused)) {
      await assert.rejects(runtime.create(scope, task(name)), { code });
    }
    assert.equal(existsSync(bundles), false);
  });
});
