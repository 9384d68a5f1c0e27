/** The throwaway kernel proves at its end that nothing was leaked. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { connect } from '../../client/index.js';
import { definePlugin, type Plugin } from '../../kernel/index.js';
import { mountAll, unmountAll } from '../../lib/linux/mount.js';
import { startTestKernel } from './kernel.js';
import { scratch } from './scratch.js';

/** Milliseconds: what is leaked for good is leaked soon. */
const SOON = 100;
/** What is sound may take its time on a machine that is busy. */
const LONG = 15_000;

interface Leak {
  readonly title: string;
  readonly told: RegExp;
  /** Leaks into the directory; resolves to what takes it back. */
  readonly leak: (directory: string) => Promise<() => Promise<unknown>>;
}

const LEAKS: readonly Leak[] = [
  {
    title: 'a timer',
    told: /active Timeout/,
    async leak() {
      const timer = setInterval(() => undefined, 60_000);
      return async () => clearInterval(timer);
    },
  },
  {
    title: 'a socket on which it listens',
    told: /open descriptor of socket:\[\d+\]; active PipeWrap/,
    async leak(directory) {
      const server = createServer().listen(join(directory, 's'));
      await once(server, 'listening');
      return async () => once(server.close(), 'close');
    },
  },
  {
    title: 'an open file',
    told: /open descriptor of .*\/kept/,
    async leak(directory) {
      const file = await open(join(directory, 'kept'), 'w');
      return () => file.close();
    },
  },
  {
    title: 'a child process',
    told: /child process \d+ \(sleep\).*active ProcessWrap/,
    async leak() {
      const child: ChildProcess = spawn('sleep', ['1000'], { stdio: 'ignore' });
      await once(child, 'spawn');
      return async () => {
        child.kill('SIGKILL');
        await once(child, 'exit');
      };
    },
  },
  {
    title: 'a mount',
    told: /mount at .*\/m/,
    async leak(directory) {
      const target = join(directory, 'm');
      mkdirSync(target);
      const mount = { type: 'tmpfs', source: 'tmpfs', target: '', options: [] };
      await mountAll([mount], target);
      return async () => unmountAll(target);
    },
  },
];

const leaking = (start: () => Promise<void>): Plugin =>
  definePlugin({
    id: 'leaking',
    api: 1,
    wire: { type: 'test.leaking', id: 'leaking' },
    config: z.object({}).strict(),
    requires: {},
    provides: {},
    async start() {
      await start();
      return {};
    },
  });

describe('a test kernel that refuses leaks', () => {
  for (const { title, told, leak } of LEAKS) {
    it(`tells of ${title} that a plugin leaves`, async () => {
      await using directory = await scratch('leak');
      const takeBack: (() => Promise<unknown>)[] = [];
      const plugin = leaking(async () => void takeBack.push(await leak(directory.path)));
      try {
        const kernel = await startTestKernel({ plugins: [plugin], directory: directory.path, refuseLeaks: SOON });
        await assert.rejects(async () => kernel[Symbol.asyncDispose](), told);
      } finally {
        for (const release of takeBack) await release();
      }
    });
  }

  it('finds nothing where plugins of the tree were at work, with a client', async () => {
    await using directory = await scratch('sound');
    const address = join(directory.path, 's');
    const plugins = ['content', 'events', 'snapshot-vfs', 'metadata', 'containers-service', 'version', 'server-grpc'];
    const config = { 'server-grpc': { address } };
    const kernel = await startTestKernel({ plugins, config, directory: directory.path, refuseLeaks: LONG });
    {
      using client = connect({ address, namespace: 'test' });
      await client.version.version({});
      assert.deepEqual((await client.containers.list({})).containers, []);
    }
    await kernel[Symbol.asyncDispose]();
  });
});
