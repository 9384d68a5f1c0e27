import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { scratch } from '../../test/harness/scratch.js';
import { RuncRuntime } from './runtime.js';

const log = pino({ level: process.env.KEELSON_TEST_LOG ?? 'silent' }, pino.destination({ dest: 2, sync: true }));

runtimeConformance(
  { describe, it },
  {
    name: 'runtime-runc',
    runtimeName: 'io.containerd.runc.v2',
    async unavailable() {
      if (process.getuid?.() !== 0) return 'needs root';
      const needs = ['/usr/sbin/runc', '/usr/bin/busybox'].find((path) => !existsSync(path));
      return needs && `needs ${needs}`;
    },
    can: { outliveReader: true, keepUnreadOutput: true, replayExits: true, reattachTerminal: true },
    directory: () => scratch('runc'),
    async open(directory, events) {
      const runtime = await RuncRuntime.open(
        {
          names: ['io.containerd.runc.v2'],
          grouping: 'namespace',
          binary: 'runc',
          runtimeRoot: `${directory}/.runtime`,
          systemdCgroup: false,
          deadline: 30_000,
          idle: 1000,
          state: directory,
          events,
          log,
        },
        5000,
      );
      return { runtime, close: () => runtime.close() };
    },
  },
);
