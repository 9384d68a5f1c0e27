import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  applyChanges,
  defaultSpec,
  mergeEnv,
  privileged,
  withCapabilities,
  withCpus,
  withHostNetwork,
  withMemoryLimit,
  withSeccomp,
} from './runtime-spec.js';

describe('defaultSpec', () => {
  const spec = defaultSpec('default', 'redis');

  it('grants no inheritable or ambient capability (CVE-2022-24769)', () => {
    assert.deepEqual(Object.keys(spec.process.capabilities).sort(), ['bounding', 'effective', 'permitted']);
  });

  it('masks what leaks host secrets', () => {
    assert.ok(spec.linux.maskedPaths.includes('/sys/devices/virtual/powercap'));
    assert.ok(spec.linux.maskedPaths.includes('/proc/kcore'));
  });

  it('denies all devices and new privileges', () => {
    assert.deepEqual(spec.linux.resources.devices, [{ allow: false, access: 'rwm' }]);
    assert.equal(spec.process.noNewPrivileges, true);
  });
});

describe('changes', () => {
  const base = defaultSpec('default', 'c');

  it('leave the spec they start from alone', () => {
    const before = structuredClone(base);
    applyChanges(base, [withMemoryLimit(1024), withHostNetwork, withSeccomp]);
    assert.deepEqual(base, before);
  });

  it('keep earlier resources', () => {
    const { resources } = applyChanges(base, [withMemoryLimit(1024), withCpus(1.5)]).linux;
    assert.deepEqual(resources.memory, { limit: 1024 });
    assert.deepEqual(resources.cpu, { period: 100_000, quota: 150_000 });
    assert.equal(resources.devices?.length, 1);
  });

  it('merge the environment, later values winning and bare names removing', () => {
    assert.deepEqual(mergeEnv(['A=1', 'B=2', 'C=3'], ['B=x=y', 'C']), ['A=1', 'B=x=y']);
  });

  it('block kernel crypto and new namespaces by seccomp unless privileged', () => {
    const filtered = applyChanges(base, [withSeccomp]).linux.seccomp;
    assert.equal(filtered?.defaultAction, 'SCMP_ACT_ERRNO');
    const rules = filtered?.syscalls ?? [];
    assert.ok(rules.some(({ names, action }) => names.includes('clone3') && action === 'SCMP_ACT_ERRNO'));
    assert.ok(!rules.some(({ names, args }) => names.includes('socket') && !args));
    const admin = applyChanges(base, [withCapabilities(['CAP_SYS_ADMIN'], []), withSeccomp]).linux.seccomp;
    assert.ok(!admin?.syscalls.some(({ action }) => action === 'SCMP_ACT_ERRNO'));
  });

  it('drop capabilities from every set', () => {
    const { capabilities } = applyChanges(base, [withCapabilities(['CAP_BPF'], ['CAP_MKNOD'])]).process;
    for (const set of Object.values(capabilities)) {
      assert.ok(set.includes('CAP_BPF'));
      assert.ok(!set.includes('CAP_MKNOD'));
    }
  });

  it('make a privileged container writable where it was not', () => {
    const spec = applyChanges(base, [privileged(['CAP_SYS_ADMIN'], [])]);
    assert.deepEqual(spec.linux.maskedPaths, []);
    assert.ok(spec.mounts.find(({ type }) => type === 'sysfs')?.options.includes('rw'));
    assert.deepEqual(spec.process.capabilities.bounding, ['CAP_SYS_ADMIN']);
  });
});
