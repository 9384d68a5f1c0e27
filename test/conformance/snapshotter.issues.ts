/** One check for each bug that layered filesystems had before, with its link. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { compareWithPlain } from './snapshotter.content.js';
import type { Checks } from './snapshotter.js';
import type { Change } from './snapshotter.workbench.js';

const file = (root: string, path: string, text: string, mode = 0o644): void => {
  writeFileSync(join(root, path), text);
  chmodSync(join(root, path), mode);
};

const folder = (root: string, path: string, mode = 0o700): void => {
  mkdirSync(join(root, path));
  chmodSync(join(root, path), mode);
};

const owned = (root: string, id: number, ...paths: readonly string[]): void => {
  for (const path of paths) chownSync(join(root, path), id, id);
};

export const issueChecks: Checks = {
  'https://github.com/moby/moby/issues/21555: a changed file of the same size and time shows its new text': async (
    bench,
  ) => {
    const hosts =
      (address: string, mode: number): Change =>
      (root) => {
        if (mode === 0o644) folder(root, 'etc');
        file(root, 'etc/hosts', `mydomain ${address}`);
        file(root, 'etc/profile', 'PATH=/usr/bin', mode);
        utimesSync(join(root, 'etc/hosts'), 1, 1);
      };
    await compareWithPlain(bench, hosts('10.0.0.1', 0o644), hosts('10.0.0.2', 0o666));
    const text = await bench.look('layer 1', (root) => readFileSync(join(root, 'etc/hosts'), 'utf8'));
    assert.equal(text, 'mydomain 10.0.0.2');
  },

  'https://github.com/moby/moby/issues/25244: a directory made anew hides what the parent had in it': (bench) =>
    compareWithPlain(
      bench,
      (root) => {
        folder(root, 'lib');
        file(root, 'lib/hidden', '');
      },
      (root) => {
        rmSync(join(root, 'lib'), { recursive: true });
        folder(root, 'lib');
        file(root, 'lib/not-hidden', '');
      },
      (root) => file(root, 'lib/newfile', ''),
    ),

  'https://github.com/moby/moby/issues/20240, 24913, 28391: chown of directories and files of a parent': (bench) =>
    compareWithPlain(
      bench,
      (root) => {
        for (const path of ['opt', 'opt/a', 'opt/a/b']) folder(root, path);
        file(root, 'opt/a/b/file.txt', 'hello');
      },
      (root) => owned(root, 1, 'opt', 'opt/a', 'opt/a/b', 'opt/a/b/file.txt'),
    ),

  'https://github.com/moby/moby/issues/25409: renaming over and out of a parent': (bench, can) =>
    compareWithPlain(
      bench,
      (root) => {
        folder(root, 'dir1');
        folder(root, 'somefiles');
        file(root, 'somefiles/f1', 'was here first!');
        file(root, 'somefiles/f2', 'nothing interesting');
      },
      (root) => {
        if (can.renameParentsDirectory) renameSync(join(root, 'dir1'), join(root, 'dir2'));
        file(root, 'somefiles/f1-overwrite', 'new content 1');
        renameSync(join(root, 'somefiles/f1-overwrite'), join(root, 'somefiles/f1'));
        renameSync(join(root, 'somefiles/f2'), join(root, 'somefiles/f3'));
      },
    ),

  'https://github.com/moby/moby/issues/27298: modes and owners of directories over several commits': (bench) =>
    compareWithPlain(
      bench,
      (root) => {
        for (const name of ['dir1', 'dir2', 'dir3', 'dir4', 'dir5']) folder(root, name);
        file(root, 'dir4/f1', '...');
        file(root, 'dir5/f1', '...');
        owned(root, 1, 'dir1', 'dir2', 'dir3', 'dir5', 'dir5/f1');
      },
      (root) => {
        owned(root, 0, 'dir2');
        rmSync(join(root, 'dir3'), { recursive: true });
        owned(root, 1, 'dir4', 'dir4/f1');
      },
      (root) => {
        folder(root, 'dir3');
        rmSync(join(root, 'dir5'), { recursive: true });
        folder(root, 'dir5');
        owned(root, 1, 'dir3', 'dir5');
      },
    ),

  'https://github.com/moby/moby/issues/12080: unix sockets can be made, and made again': (bench) => {
    const listen: Change = async (root) => {
      const path = join(root, 'socket');
      rmSync(path, { force: true });
      const server = createServer();
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
      // Closing removes the socket's file: a link to it stays.
      renameSync(path, join(root, 'kept'));
      chmodSync(join(root, 'kept'), 0o755);
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
    return compareWithPlain(bench, listen, (root) => file(root, 'other', ''), listen);
  },

  'https://github.com/moby/moby/issues/19647: a directory keeps its inode number when its content changes': async (
    bench,
  ) => {
    await bench.layer('base', '', (root) => {
      folder(root, 'directory');
      file(root, 'directory/file', '');
    });
    await bench.inside(await bench.snapshotter.prepare('key', 'base'), (root) => {
      const before = statSync(join(root, 'directory')).ino;
      file(root, 'directory/new', '');
      chmodSync(join(root, 'directory'), 0o711);
      assert.equal(statSync(join(root, 'directory')).ino, before);
    });
  },

  'https://github.com/docker/machine/issues/3327: chmod of a file of a parent keeps its text': (bench) =>
    compareWithPlain(
      bench,
      (root) => file(root, 'file', 'text', 0o600),
      (root) => chmodSync(join(root, 'file'), 0o755),
      (root) => chmodSync(join(root, 'file'), 0o400),
    ),

  'https://github.com/moby/moby/issues/24309: what was just committed or unmounted can be removed': async (bench) => {
    for (let round = 0; round < 10; round += 1) {
      await bench.layer('base', '', (root) => file(root, 'file', ''));
      await bench.inside(await bench.snapshotter.prepare('key', 'base'), (root) => file(root, 'file', 'new'));
      await bench.snapshotter.remove('key');
      await bench.snapshotter.remove('base');
      await bench.snapshotter.cleanup();
    }
  },

  'https://github.com/containerd/containerd/issues/1785: removing never reaches into what is mounted': async (
    bench,
  ) => {
    const treasure = join(bench.work, 'treasure');
    mkdirSync(treasure);
    file(treasure, 'gold', 'precious');
    const [mount] = await bench.snapshotter.prepare('key', '');
    assert.ok(mount);
    await bench.inside([mount], (root) => folder(root, 'inside'));
    // Mounted below the storage itself, as a container that propagates mounts may do.
    const inside = { type: 'bind', source: treasure, target: 'inside', options: ['rbind', 'rw'] };
    await bench.inside([mount, inside], async () => {
      await bench.snapshotter.remove('key');
      await bench.snapshotter.cleanup();
      assert.deepEqual(readdirSync(treasure), ['gold']);
    });
    await bench.snapshotter.cleanup();
    assert.equal(readFileSync(join(treasure, 'gold'), 'utf8'), 'precious');
  },
};
