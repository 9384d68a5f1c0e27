/** A control group with a limit, on hosts of either version, for processes that a test puts into it. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ControlGroup } from '../../lib/cgroups/group.js';
import { eventually } from './eventually.js';

const FILES = {
  1: { memory: 'memory.limit_in_bytes', pids: 'pids.max', kills: 'memory.oom_control' },
  2: { memory: 'memory.max', pids: 'pids.max', kills: 'memory.events' },
} as const;

/** Where a group of that path would be for a controller. */
export const groupDirectory = (path: string, controller: string): string =>
  ControlGroup.everywhere(path).directory(controller) ?? assert.fail(`no control groups for ${controller}`);

export class LimitedGroup implements AsyncDisposable {
  readonly #group: ControlGroup;
  readonly #directory: string;
  readonly #controller: 'memory' | 'pids';

  /** `limit`: bytes, or processes. */
  constructor(controller: 'memory' | 'pids', limit: number) {
    const path = `/keelson-test-${process.pid}`;
    this.#controller = controller;
    this.#group = ControlGroup.everywhere(path);
    this.#directory = groupDirectory(path, controller);
    if (this.#group.version === 2) {
      writeFileSync(join(this.#directory, '../cgroup.subtree_control'), `+${controller}`);
    }
    mkdirSync(this.#directory);
    this.limit(String(limit));
  }

  limit(value: string): void {
    writeFileSync(join(this.#directory, FILES[this.#group.version][this.#controller]), value);
  }

  /** Has the process in the group while the work is done: what it starts meanwhile is born there, and stays. */
  async around<T>(pid: number, work: () => Promise<T>): Promise<T> {
    const home = ControlGroup.of(pid);
    this.#group.take(pid);
    try {
      return await work();
    } finally {
      home?.take(pid);
    }
  }

  /** Processes of it that the kernel has killed for want of memory. */
  get kills(): number {
    const text = readFileSync(join(this.#directory, FILES[this.#group.version].kills), 'utf8');
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await eventually('the group is empty', () => this.#group.processes().length === 0 || undefined);
    this.#group.removeAlone();
  }
}
