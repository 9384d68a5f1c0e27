/** `containerd.runc.v1.Options` of a task, as the OCI runtime and the streams get them. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Options } from '../../api/gen/runtime/runc-options.js';
import { Options as RuntimeOptions } from '../../api/gen/runtime/runtime-options.js';
import { ControlGroup } from '../../lib/cgroups/group.js';
import { isErrno } from '../../lib/errno.js';
import { readControlGroups } from '../../lib/linux/proc.js';
import { packAny } from '../../lib/rpc/any.js';
import { rejects, scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

const UID = 1234;
const GID = 4321;

/** runc that writes down its arguments and the owners of its outputs, and is spared what this host does not have: systemd. */
const SCRIPT = (file: string): string => `#!/bin/sh
echo "$*" >>"${file}"
case " $* " in *" create "*) owners=$(stat -L -c %u:%g /proc/$$/fd/1 /proc/$$/fd/2); echo "$owners" >"${file}.owners" ;; esac
for argument; do
  shift
  [ "$argument" = --systemd-cgroup ] || set -- "$@" "$argument"
done
exec runc "$@"
`;

/** As soon as the last process has left it. */
const removeEmptied = (group: string): Promise<void> =>
  until('the control group is empty', async () => {
    try {
      await rmdir(group);
      return true;
    } catch (error) {
      if (isErrno(error, 'EBUSY')) return false;
      throw error;
    }
  });

describe('options of a task', () => {
  it('reach the runtime and the streams', async () => {
    await using bench = await Workbench.open(runcSubject({ binary: '/no/such/runtime' }));
    const directory = join(bench.work, 'options');
    await mkdir(directory);
    const binaryName = join(directory, 'own-runc');
    const record = join(directory, 'arguments');
    const root = join(directory, 'root');
    await writeFile(binaryName, SCRIPT(record));
    await chmod(binaryName, 0o755);
    const given = Options.fromPartial({
      ...{ binaryName, root, ioUid: UID, ioGid: GID },
      ...{ noPivotRoot: true, noNewKeyring: true, systemdCgroup: true },
    });
    const fifos = await bench.fifos();
    const request = bench.request(bench.freshId(), 'echo hello; sleep 60', { streams: fifos.output });
    await bench.runtime.create(scope, { ...request, options: packAny(Options, given) });
    const runs = (await readFile(record, 'utf8')).split('\n');
    const create = runs.find((line) => line.includes(' create ')) ?? '';
    for (const part of [`--root ${root}/${scope.namespace}`, '--no-pivot', '--no-new-keyring', '--systemd-cgroup']) {
      assert.ok(create.includes(part), `${part} in ${create}`);
    }
    assert.ok(existsSync(join(root, scope.namespace, request.id)));
    // runc makes the process's user their owner afterwards.
    assert.equal(await readFile(`${record}.owners`, 'utf8'), `${UID}:${GID}\n${UID}:${GID}\n`);
    await bench.runtime.kill(scope, { id: request.id }, 9);
    await bench.runtime.wait(scope, { id: request.id });
    await bench.runtime.delete(scope, { id: request.id });
    assert.match(await readFile(record, 'utf8'), / delete /);
  });

  it('put the supervisor into a control group, where it stays for all its tasks, and its successor', async () => {
    await using places = new AsyncDisposableStack();
    const name = `/shim-${process.pid}`;
    const group = ControlGroup.everywhere(name).directory('pids') ?? assert.fail('no hierarchy of control groups');
    await mkdir(group);
    places.defer(() => removeEmptied(group));
    const bench = places.use(await Workbench.open(runcSubject()));
    const inGroup = (shimCgroup: string) => packAny(Options, Options.fromPartial({ shimCgroup }));
    const request = (script: string) => bench.request(bench.freshId(), script);
    const missing = { ...request('true'), options: inGroup(`${name}/none`) };
    await assert.rejects(bench.runtime.create(scope, missing), {
      code: 'FAILED_PRECONDITION',
      message: /control group ".*none" \(option shim_cgroup of task .* does not exist/,
    });
    assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
    const supervisorGroup = async (): Promise<string | undefined> => {
      const [pid = 0] = await supervisorsBelow(bench.work);
      return readControlGroups(pid)?.get('pids') ?? readControlGroups(pid)?.get('');
    };
    const first = { ...request('sleep 600'), options: inGroup(name) };
    const { pid } = await bench.runtime.create(scope, first);
    assert.equal(await supervisorGroup(), name);
    assert.notEqual(readControlGroups(pid)?.get('pids') ?? readControlGroups(pid)?.get(''), name);
    const second = await bench.create('sleep 600');
    const third = { ...request('true'), options: inGroup('/another') };
    await bench.runtime.create(scope, third);
    assert.equal(await supervisorGroup(), name, 'others find it where it is');
    const [lost = 0] = await supervisorsBelow(bench.work);
    process.kill(lost, 'SIGKILL');
    await until('a successor in that group', async () => {
      const [heir] = await supervisorsBelow(bench.work);
      return heir !== undefined && heir !== lost && (await supervisorGroup()) === name;
    });
    await second.end();
    for (const { id } of [first, third]) await bench.runtime.delete(scope, { id });
  });

  it('of another runtime are refused, those of a configuration file are not looked at', async () => {
    await using bench = await Workbench.open(runcSubject());
    const request = bench.request(bench.freshId(), 'true');
    const alien = { typeUrl: 'some.other.Options', value: Buffer.alloc(0) };
    await rejects('INVALID_ARGUMENT', bench.runtime.create(scope, { ...request, options: alien }));
    const file = packAny(RuntimeOptions, RuntimeOptions.fromPartial({ configPath: '/etc/none.toml' }));
    await bench.runtime.create(scope, { ...request, options: file });
    await bench.runtime.delete(scope, { id: request.id });
    const missing = packAny(Options, Options.fromPartial({ binaryName: '/no/such/runtime' }));
    await rejects('FAILED_PRECONDITION', bench.runtime.create(scope, { ...request, options: missing }));
  });
});
