/** What the default spec keeps from a container, seen from inside one: attack 80 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withReadonlyRoot, withSeccomp } from '../../lib/oci/runtime-spec.js';
import { Reader } from '../../test/conformance/container.js';
import { inTime, scope, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject } from '../../test/harness/runc.js';

/** AF_ALG is 38, AF_VSOCK 40, EPERM 1. */
const socketErrno = (family: number): string => `perl -e 'print socket(S, ${family}, 5, 0) ? "open" : $! + 0'`;

/** One answer per line. */
const QUESTIONS = {
  'kernel crypto': [socketErrno(38), '1'],
  'sockets of virtual machines': [socketErrno(40), '1'],
  'a new user namespace': [`perl -e 'print syscall(272, 0x10000000) == 0 ? "made" : $! + 0'`, '1'],
  'power meters': ['ls -A /sys/devices/virtual/powercap 2>/dev/null | wc -l', '0'],
  firmware: ['ls -A /sys/firmware 2>/dev/null | wc -l', '0'],
  'memory of the kernel': ['head -c 16 /proc/kcore | wc -c', '0'],
  'settings of the kernel': [
    '(echo x >/proc/sys/kernel/domainname) 2>/dev/null && echo written || echo refused',
    'refused',
  ],
  sysrq: ['(echo h >/proc/sysrq-trigger) 2>/dev/null && echo written || echo refused', 'refused'],
  'inheritable capabilities': [`sed -n 's/^CapInh:\\s*//p' /proc/self/status`, '0000000000000000'],
  'new privileges': [`sed -n 's/^NoNewPrivs:\\s*//p' /proc/self/status`, '1'],
} as const;

describe('a container of the default spec, on the files of the host', () => {
  it('gets none of what it must not have', async () => {
    await using bench = await Workbench.open(runcSubject());
    const fifos = await bench.fifos();
    const script = Object.values(QUESTIONS)
      .map(([question]) => `echo "$( ${question} )"`)
      .join('\n');
    const request = bench.request(bench.freshId(), script, {
      streams: fifos.output,
      changes: [withReadonlyRoot, withSeccomp],
    });
    const reader = new Reader(fifos.stdout);
    const rootfs = [{ type: 'bind', source: '/', target: '', options: ['bind', 'ro'] }];
    await bench.runtime.create(scope, { ...request, rootfs });
    await bench.runtime.start(scope, { id: request.id });
    await inTime('the end', bench.runtime.wait(scope, { id: request.id }));
    const answers = (await inTime('the answers', reader.all())).trimEnd().split('\n');
    await bench.runtime.delete(scope, { id: request.id });
    const told = Object.fromEntries(Object.keys(QUESTIONS).map((subject, index) => [subject, answers[index]]));
    const expected = Object.fromEntries(Object.entries(QUESTIONS).map(([subject, [, answer]]) => [subject, answer]));
    assert.deepEqual(told, expected);
  });
});
