import assert from 'node:assert/strict';
import { mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { type Ctr, eventually, type Outcome, succeed } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const { daemon, image, own, pulled } = await startWorld(['busybox', 'node', 'debian']);

for (const snapshotter of SNAPSHOTTERS) {
  describe(`ctr run on ${snapshotter}`, () => suite(snapshotter));
}

function suite(snapshotter: Snapshotter): void {
  let ctr: Ctr;
  before(async () => {
    ctr = await pulled(own(`run-${snapshotter}`), snapshotter, 'busybox', 'node', 'debian');
  });

  const flags = ['run', '--rm', '--snapshotter', snapshotter];
  let count = 0;
  /** Runs a shell script in a container of the busybox image. */
  function shell(script: string, ...options: readonly string[]): Promise<Outcome> {
    count += 1;
    return ctr.run([...flags, ...options, image.busybox, `shell-${count}`, 'sh', '-c', script]);
  }

  /** No container, task, snapshot or mount of that id. */
  async function isGone(id: string): Promise<void> {
    assert.doesNotMatch(await ctr.ok('containers', 'ls', '--quiet'), new RegExp(`^${id}$`, 'm'));
    assert.doesNotMatch(await ctr.ok('tasks', 'ls', '--quiet'), new RegExp(`^${id}$`, 'm'));
    const snapshots = await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls');
    assert.ok(snapshots.every(([key]) => key !== id));
    const mounts = (await readFile('/proc/self/mountinfo')).toString();
    assert.ok(!mounts.includes(`${ctr.namespace}/${id}/rootfs`), 'no rootfs stays mounted');
  }

  test('passes output, errors and the exit code through, and leaves nothing', async () => {
    const { stdout, stderr, code } = await shell('echo out; echo err >&2; exit 7');
    assert.deepEqual({ stdout, stderr, code }, { stdout: 'out\n', stderr: 'err\n', code: 7 });
    assert.equal((await shell('true')).code, 0);
    await isGone('shell-1');
  });

  test('much output arrives whole and in order', async () => {
    const { stdout, code } = await shell('i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo "line $i"; done');
    assert.equal(code, 0);
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, 40_000);
    assert.ok(lines.every((line, index) => line === `line ${index + 1}`));
  });

  test('input reaches the process, and its end too', async () => {
    const running = ctr.start(...flags, image.busybox, 'reader', 'sh', '-c', 'echo ready; cat; echo end');
    await running.stdout.until(/ready/);
    running.write('one\ntwo\n');
    await running.stdout.until(/two/);
    running.closeInput();
    const { stdout, code } = await running.end();
    assert.deepEqual([stdout, code], ['ready\none\ntwo\nend\n', 0]);
  });

  test('environment and directory are what was asked for, on top of the image', async () => {
    const { stdout } = await shell('echo $ORIGIN:$ADDED; pwd', '--env', 'ADDED=x y', '--cwd', '/tmp');
    assert.deepEqual(stdout.split('\n'), ['image:x y', '/tmp', '']);
  });

  test('a bind mount and a read-only root', async () => {
    const shared = join(daemon.directory, `shared-${snapshotter}`);
    await mkdir(shared);
    await writeFile(join(shared, 'from-host'), 'host\n');
    const mount = `type=bind,src=${shared},dst=/shared,options=rbind:rw`;
    const { stdout, stderr } = await shell(
      'cat /shared/from-host; echo container >/shared/from-container; echo x >/root/x',
      ...['--mount', mount, '--read-only'],
    );
    assert.equal(stdout, 'host\n');
    assert.match(stderr, /Read-only file system/);
    assert.equal(await readFile(join(shared, 'from-container'), 'utf8'), 'container\n');
  });

  test('the process is alone in its namespaces and sees the standard mounts', async () => {
    const { stdout } = await shell(
      'echo $$; hostname >/dev/null; ls /sys /proc/self >/dev/null && ls /dev; read name </proc/1/comm; echo $name',
    );
    const lines = stdout.trim().split('\n');
    assert.equal(lines[0], '1');
    for (const device of ['null', 'zero', 'urandom', 'tty', 'ptmx', 'pts', 'shm'])
      assert.ok(lines.includes(device), device);
    assert.equal(lines.at(-1), 'sh');
    const own = await readlink('/proc/self/ns/mnt');
    for (const kind of ['mnt', 'pid', 'net', 'ipc', 'uts']) {
      const { stdout: inside } = await shell(`readlink /proc/self/ns/${kind}`);
      assert.notEqual(inside.trim(), await readlink(`/proc/self/ns/${kind}`), kind);
      assert.notEqual(inside.trim(), own);
    }
  });

  test('a program of the big image runs: setuid and file capabilities are in force', async () => {
    const script =
      'stat -c "%A %U" /usr/bin/su; cat /odd/replaced/opaque/fresh; ls /odd/replaced; dpkg --version | head -n1';
    const { stdout, code, stderr } = await ctr.run([...flags, image.debian, 'debian', 'bash', '-c', script]);
    assert.equal(code, 0, stderr);
    const lines = stdout.split('\n');
    assert.equal(lines[0], '-rwsr-xr-x root');
    assert.equal(lines[1], 'b');
    assert.ok(lines.includes('kept') && !lines.includes('gone'));
    assert.match(stdout, /Debian 'dpkg' package management program/);
  });

  test('the image itself says what to run', async () => {
    const { stdout } = await ctr.run([...flags, image.node, 'default-command']);
    assert.equal(stdout.trim(), process.version);
    const script = 'console.log(6 * 7, process.pid, require("os").release().length > 0)';
    const { stdout: computed } = await ctr.run([...flags, image.node, 'script', 'node', '-e', script]);
    assert.equal(computed, '42 1 true\n');
  });

  test('-t gives a terminal of the right size, which follows the outer one', async () => {
    const script =
      'until_size() { until [ "$(stty size)" = "$1" ]; do sleep 0.05; done; }; ' +
      'tty; until_size "31 97"; echo right; read line; echo "<$line>"; until_size "40 120"; exit 5';
    const running = ctr.startInTerminal(...flags, '-t', image.debian, 'terminal', 'bash', '-c', script);
    await running.stdout.until(/\/dev\/pts\/\d+\s+right\r/);
    running.write('hello\n');
    await running.stdout.until(/<hello>/);
    await succeed('stty', ['-F', await terminalOf(running.pid), 'rows', '40', 'cols', '120']);
    const { stdout, code } = await running.end();
    assert.equal(code, 5, stdout);
    await isGone('terminal');
  });

  test('Ctrl-C in a terminal interrupts what runs there', async () => {
    const script = 'trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 0.1; done';
    const running = ctr.startInTerminal(...flags, '-t', image.busybox, 'interrupted', 'sh', '-c', script);
    await running.stdout.until(/ready/);
    running.write('\x03');
    const { stdout, code } = await running.end();
    assert.deepEqual([code, /interrupted/.test(stdout)], [3, true]);
  });

  test('what cannot run says why and leaves nothing', async () => {
    const missing = await ctr.run([...flags, image.busybox, 'missing', '/no/such/program']);
    assert.notEqual(missing.code, 0);
    assert.match(missing.stderr, /no\/such\/program.*no such file or directory/i);
    const unknown = await ctr.run([...flags, 'example.com/none:latest', 'unknown', 'true']);
    assert.match(unknown.stderr, /image "example\.com\/none:latest":? not found/);
    await isGone('missing');
    await isGone('unknown');
  });

  test('one id is used once', async () => {
    const running = ctr.start(...flags, image.busybox, 'twice', 'sh', '-c', 'echo ready; read line');
    await running.stdout.until(/ready/);
    const second = await ctr.run([...flags, image.busybox, 'twice', 'true']);
    assert.match(second.stderr, /twice.*already exists/);
    running.write('\n');
    assert.equal((await running.end()).code, 0);
    await isGone('twice');
  });

  test('twenty containers at once', async () => {
    const runs = Array.from({ length: 20 }, (_, index) => shell(`echo ${index}; exit ${index}`));
    const outcomes = await Promise.all(runs);
    assert.deepEqual(
      outcomes.map(({ code }) => code),
      Array.from(outcomes.keys()),
    );
    assert.deepEqual(
      outcomes.map(({ stdout }) => stdout),
      Array.from(outcomes.keys(), (index) => `${index}\n`),
    );
    await isGone(`shell-${count}`);
  });

  /** The terminal that the program started by script(1) runs on. */
  function terminalOf(script: number): Promise<string> {
    return eventually('a child of script', async () => {
      const children = (await readFile(`/proc/${script}/task/${script}/children`, 'utf8')).trim();
      return children === '' ? undefined : readlink(`/proc/${children.split(' ')[0]}/fd/0`);
    });
  }
}
