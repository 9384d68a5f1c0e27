/** Checkpoint and restore with a runtime that only seems to do so, for hosts on which criu does not work. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { CheckpointOptions, Options } from '../../api/gen/runtime/runc-options.js';
import { packAny } from '../../lib/rpc/any.js';
import { Reader } from '../../test/conformance/container.js';
import { scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject } from '../../test/harness/runc.js';
import { scratch } from '../../test/harness/scratch.js';

/** runc, but that a checkpoint is a file of the arguments, and a restore needs it and starts anew. */
const SCRIPT = `#!/bin/sh
all="$*"
case " $all " in
*" checkpoint "*|*" restore "*) ;;
*) exec runc "$@" ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
  --root) root=$2 ;; --log) log=$2 ;; --image-path) image=$2 ;; --work-path) work=$2 ;;
  --bundle) bundle=$2 ;; --pid-file) pid=$2 ;; esac
  id=$1
  shift
done
case " $all " in
*" checkpoint "*)
  [ -d "$image" ] || exit 1
  echo "$all" >"$image/arguments.img"
  case " $all " in *" --leave-running "*) ;; *) runc --root "$root" kill "$id" 9 ;; esac ;;
*)
  [ -f "$image/arguments.img" ] || exit 1
  echo "$work" >"$image/work"
  runc --root "$root" --log "$log" create --bundle "$bundle" --pid-file "$pid" "$id" && exec runc --root "$root" start "$id" ;;
esac
`;

const options = (given: Partial<CheckpointOptions>) => packAny(CheckpointOptions, CheckpointOptions.fromPartial(given));

test('a task is checkpointed with the options that were given, ends if asked to, and is restored', async () => {
  await using place = await scratch('criu');
  const binary = join(place.path, 'runc');
  await writeFile(binary, SCRIPT);
  await chmod(binary, 0o755);
  await using bench = await Workbench.open(runcSubject({ binary }));
  const image = join(place.path, 'image');
  await mkdir(image);

  const task = await bench.run('sleep 60');
  const given = { openTcp: true, fileLocks: true, externalUnixSockets: true, terminal: true, cgroupsMode: 'soft' };
  const places = { workPath: join(place.path, 'dump'), parentPath: join(place.path, 'parent') };
  await bench.runtime.checkpoint(scope, {
    id: task.id,
    path: image,
    options: options({ ...given, ...places, emptyNamespaces: ['network'] }),
  });
  assert.equal(await task.status(), 'running');
  const args = await readFile(join(image, 'arguments.img'), 'utf8');
  for (const flag of ['--leave-running', '--tcp-established', '--file-locks', '--ext-unix-sk', '--shell-job']) {
    assert.ok(args.includes(flag), flag);
  }
  assert.match(args, /--manage-cgroups-mode soft/);
  assert.match(args, /--empty-ns network/);
  assert.match(args, new RegExp(`--work-path ${places.workPath} `));
  assert.match(args, /--parent-path \.\.\/parent /);

  await bench.runtime.checkpoint(scope, { id: task.id, path: image, options: options({ exit: true }) });
  assert.equal(await task.wait(), 137);
  await task.delete();
  const topics = await bench.topics(task.id, 6);
  // The process ends while it is checkpointed for the second time.
  assert.deepEqual(topics.slice(0, 3), ['create', 'start', 'checkpointed']);
  assert.deepEqual(topics.slice(3, 5).sort(), ['checkpointed', 'exit']);

  const fifos = await bench.fifos();
  const reader = new Reader(fifos.stdout);
  const request = bench.request(task.id, 'echo restored; sleep 60', { streams: fifos.output });
  const any = packAny(Options, Options.fromPartial({ criuWorkPath: join(place.path, 'work') }));
  const { pid } = await bench.runtime.create(scope, { ...request, checkpoint: image, options: any });
  assert.equal(await readFile(join(image, 'work'), 'utf8'), `${join(place.path, 'work')}\n`);
  assert.equal((await task.start()).pid, pid);
  assert.equal(await task.status(), 'running');
  await until('it goes on', () => reader.text === 'restored\n');
  await task.end();
  await assert.rejects(bench.runtime.create(scope, { ...request, checkpoint: '/nowhere' }));
  assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
});
