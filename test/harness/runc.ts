/** The runtime-runc plugin's runtime as a subject of the runtime kit, with settings a test may change. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { RuncRuntime, type RuncRuntimeOptions } from '../../plugins/runtime-runc/runtime.js';
import type { RuntimeSubject } from '../conformance/runtime.js';
import { scratch } from './scratch.js';

const log = pino({ level: process.env.KEELSON_TEST_LOG ?? 'silent' }, pino.destination({ dest: 2, sync: true }));

/** Milliseconds. */
const ADOPTION_BUDGET = 2000;

export type RuncOverrides = Partial<Omit<RuncRuntimeOptions, 'state' | 'events'>>;

export const runcSubject = (overrides: RuncOverrides = {}): RuntimeSubject => ({
  name: 'runtime-runc',
  runtimeName: 'io.containerd.runc.v2',
  async unavailable() {
    if (process.getuid?.() !== 0) return 'needs root';
    const needs = ['/usr/sbin/runc', '/usr/bin/busybox'].find((path) => !existsSync(path));
    return needs && `needs ${needs}`;
  },
  can: {
    outliveReader: true,
    keepUnreadOutput: true,
    replayExits: true,
    startWithoutReader: true,
    resizeBeforeStart: true,
    checkpoint: true,
    reattachTerminal: true,
  },
  directory: () => scratch('runc'),
  async open(directory, events) {
    const options = {
      names: ['io.containerd.runc.v2'],
      grouping: 'namespace',
      binary: 'runc',
      runtimeRoot: join(directory, '.runtime'),
      systemdCgroup: false,
      deadline: 30_000,
      idle: 1000,
      eventGrace: 0,
      knownEscapes: 'warn',
      log,
      ...overrides,
      state: directory,
      events,
    } as const;
    const runtime = await RuncRuntime.open(options, ADOPTION_BUDGET);
    return { runtime, close: () => runtime.close() };
  },
});

/** Process ids of the supervisors that work below a directory. */
export async function supervisorsBelow(directory: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return command.includes('--bundles=') && command.includes(directory) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}
