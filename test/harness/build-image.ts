/** Program behind `imageLayout`: build-image.js NAME DIRECTORY. Does nothing when the directory is there. */
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { succeed } from './command.js';
import { mergedDirectories, packageFiles, withDependencies } from './debian.js';
import type { ImageName } from './images.js';
import { type ImageSource, writeLayout } from './layout.js';

const oddFiles = fileURLToPath(new URL('../../../test/harness/odd-files.sh', import.meta.url));

/** Makes `work/name` and the directories in it. */
async function tree(work: string, name: string, directories: readonly string[]): Promise<string> {
  const path = join(work, name);
  await mkdir(path, { mode: 0o755 });
  for (const directory of directories) await mkdir(join(path, directory), { recursive: true, mode: 0o755 });
  return path;
}

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nalice:x:1000:1000::/home:/bin/sh\n';
const GROUP = 'root:x:0:\ndaemon:x:1:\naudio:x:29:alice\nalice:x:1000:\n';

async function busybox(work: string): Promise<ImageSource> {
  const root = await tree(work, 'root', ['bin', 'etc', 'tmp', 'root', 'dev', 'proc', 'sys']);
  await copyFile((await succeed('sh', ['-c', 'command -v busybox'])).trim(), join(root, 'bin/busybox'));
  await chmod(join(root, 'bin/busybox'), 0o755);
  await chmod(join(root, 'tmp'), 0o1777);
  const applets = (await succeed('busybox', ['--list']))
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox');
  for (const applet of applets) await symlink('busybox', join(root, 'bin', applet));
  await writeFile(join(root, 'etc/passwd'), PASSWD);
  await writeFile(join(root, 'etc/group'), GROUP);
  return { layers: [{ tree: root }], command: ['sh'], env: ['PATH=/bin', 'ORIGIN=image'] };
}

async function layered(work: string): Promise<ImageSource> {
  const { layers, ...rest } = await busybox(work);
  const above = ['first', 'second', 'third', 'fourth'].map(async (name) => {
    const layer = await tree(work, name, ['etc']);
    await writeFile(join(layer, 'etc', name), name);
    return { tree: layer };
  });
  return { layers: [...layers, ...(await Promise.all(above))], ...rest };
}

/** The shared libraries and the loader that ldd(1) names for a program. */
async function librariesOf(program: string): Promise<string[]> {
  const listing = await succeed('ldd', [program]);
  return [...listing.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

async function node(work: string): Promise<ImageSource> {
  const libraries = await tree(work, 'libraries', ['etc', 'tmp']);
  for (const path of await librariesOf(process.execPath)) {
    await mkdir(join(libraries, dirname(path)), { recursive: true });
    await copyFile(path, join(libraries, path));
  }
  await writeFile(join(libraries, 'etc/passwd'), PASSWD);
  const program = await tree(work, 'program', ['usr/local/bin']);
  await copyFile(process.execPath, join(program, 'usr/local/bin/node'));
  await chmod(join(program, 'usr/local/bin/node'), 0o755);
  return {
    layers: [{ tree: libraries, compression: 'none' }, { tree: program }],
    command: ['node', '--version'],
    env: ['PATH=/usr/local/bin'],
  };
}

/** Packages of a small Debian. */
const USERLAND = [
  ...['apt', 'base-files', 'base-passwd', 'bash', 'coreutils', 'dash', 'diffutils', 'findutils', 'grep', 'gzip'],
  ...['libc-bin', 'login', 'mount', 'passwd', 'perl-base', 'procps', 'sed', 'tar', 'tzdata', 'util-linux'],
];
/** Packages with big programs, to make the image a big one. */
const PROGRAMS = ['containerd', 'docker-registry', 'runc', 'skopeo', 'umoci'];

async function debian(work: string): Promise<ImageSource> {
  const userland = await withDependencies(USERLAND);
  const programs = (await withDependencies(PROGRAMS)).difference(userland);
  const settings = await tree(work, 'settings', [
    'dev',
    'etc',
    'home',
    'proc',
    'root',
    'run',
    'sys',
    'tmp',
    'usr/local/bin',
  ]);
  await writeFile(join(settings, 'etc/passwd'), PASSWD);
  await writeFile(join(settings, 'etc/group'), GROUP);
  await copyFile(process.execPath, join(settings, 'usr/local/bin/node'));
  const odd = await tree(work, 'odd', []);
  const changes = await tree(work, 'changes', []);
  await succeed('sh', [oddFiles, odd, changes]);
  return {
    layers: [
      { tree: '/', paths: [...new Set([...(await mergedDirectories()), ...(await packageFiles(userland))])] },
      { tree: '/', paths: await packageFiles(programs) },
      { tree: settings },
      { tree: odd },
      { tree: changes },
    ],
    command: ['bash'],
  };
}

const SOURCES: Readonly<Record<ImageName, (work: string) => Promise<ImageSource>>> = {
  busybox,
  layered,
  node,
  debian,
};

async function main(): Promise<void> {
  const [name, layout] = z
    .tuple([z.enum(['busybox', 'layered', 'node', 'debian']), z.string().startsWith('/')])
    .parse(process.argv.slice(2));
  if (existsSync(layout)) return;
  const work = await mkdtemp(`${layout}-`);
  try {
    const unfinished = join(work, 'layout');
    await writeLayout(unfinished, await SOURCES[name](work));
    await rename(unfinished, layout);
  } finally {
    await rm(work, { recursive: true });
  }
}

await main();
