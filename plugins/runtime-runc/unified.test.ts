/**
 * Version 2 of control groups alone, with real containers. On a hybrid host this file runs itself once more, in a mount
 * namespace where the unified hierarchy stands by itself at /sys/fs/cgroup: runc and the supervisor then take the
 * host for one of version 2. Controllers that version 1 has taken are missing there, so limits are not among the checks;
 * they are in test/guest/run.sh.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Metrics } from '../../api/gen/cgroups/v2.js';
import { mountTable } from '../../lib/linux/mount-table.js';
import { readControlGroups } from '../../lib/linux/proc.js';
import { unpackAny } from '../../lib/rpc/any.js';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { succeed } from '../../test/harness/command.js';
import { runcSubject } from '../../test/harness/runc.js';

const HIERARCHY = '/sys/fs/cgroup';

const types = new Set(mountTable().map(({ type }) => type));
const reason = (await runcSubject().unavailable()) ?? (types.has('cgroup2') ? undefined : 'needs a cgroup2 filesystem');

/** What limits and measures needs controllers of this hierarchy. */
const hasControllers = (): boolean =>
  /\bmemory\b.*\bpids\b/.test(readFileSync(join(HIERARCHY, 'cgroup.controllers'), 'utf8'));

/** Directory of a process's group. */
const groupOf = (pid: number): string => join(HIERARCHY, readControlGroups(pid)?.get('') ?? assert.fail('no group'));

function onVersion2(): void {
  const groups = ['lifecycle', 'exec', ...(hasControllers() ? (['control'] as const) : [])] as const;
  runtimeConformance({ describe, it }, { ...runcSubject(), name: 'runtime-runc on version 2' }, groups);

  describe('version 2 alone', () => {
    it('pauses and resumes by the freezer of the group', async () => {
      await using bench = await Workbench.open(runcSubject());
      const task = await bench.run('sleep 600');
      await bench.runtime.pause(scope, task.id);
      assert.equal(await task.status(), 'paused');
      await bench.runtime.resume(scope, task.id);
      assert.equal(await task.status(), 'running');
      await task.end();
    });

    it('lists and kills every process, and removes the group', async () => {
      await using bench = await Workbench.open(runcSubject());
      const task = await bench.run('sleep 600 & sleep 600');
      await task.exec('e', 'sleep 600');
      await task.start('e');
      await until('all processes are listed', async () => (await bench.runtime.pids(scope, task.id)).length === 3);
      const group = groupOf(task.pid);
      assert.equal(existsSync(join(group, 'cgroup.freeze')), true);
      await bench.runtime.kill(scope, task.process(), 9, true);
      assert.deepEqual([await task.wait(), await task.wait('e')], [137, 137]);
      await task.delete();
      assert.equal(existsSync(group), false);
    });

    it('measures in messages of version 2', async () => {
      await using bench = await Workbench.open(runcSubject());
      const task = await bench.run('while :; do :; done');
      await until('use of the processor', async () => {
        const { cpu } = unpackAny(Metrics, await bench.runtime.stats(scope, task.id));
        return (cpu?.usageUsec ?? 0n) > 0n;
      });
      await task.end();
    });
  });
}

function inNamespaceOfItsOwn(): void {
  it('passes where version 2 of control groups is alone', { skip: reason ?? false }, async () => {
    const script = `umount --recursive ${HIERARCHY}; mount -t cgroup2 cgroup2 ${HIERARCHY}; exec "$@"`;
    const itself = [process.execPath, fileURLToPath(import.meta.url)];
    await succeed('unshare', ['--mount', 'sh', '-ec', script, 'sh', ...itself]);
  });
}

if (types.has('cgroup')) inNamespaceOfItsOwn();
else onVersion2();
