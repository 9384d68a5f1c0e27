/** Control groups of both versions: cgroups(7), and the kernel's cgroup-v1 and cgroup-v2 documents. */
import { existsSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { isErrno } from '../errno.js';
import { readKernelFile } from '../linux/kernel-file.js';
import { readControlGroups } from '../linux/proc.js';
import { listGroups, readRows, readText } from './files.js';

interface Mount {
  readonly point: string;
  /** The group that is seen at the mount point. */
  readonly root: string;
}

interface Hierarchies {
  /** Mounts of version 1 by controller. */
  readonly legacy: ReadonlyMap<string, Mount>;
  readonly unified: Mount | undefined;
}

/** Where the hierarchies are mounted (proc_pid_mountinfo(5)). */
function readHierarchies(): Hierarchies {
  const legacy = new Map<string, Mount>();
  let unified: Mount | undefined;
  for (const line of readKernelFile('/proc/self/mountinfo').split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root = '', point = ''] = left.split(' ');
    const [type, , options = ''] = right.split(' ');
    if (type === 'cgroup2') unified ??= { point, root };
    if (type !== 'cgroup') continue;
    for (const option of options.split(',')) if (!legacy.has(option)) legacy.set(option, { point, root });
  }
  return { legacy, unified };
}

let hierarchies: Hierarchies | undefined;

function locate(mount: Mount | undefined, path: string): string | undefined {
  if (mount === undefined) return undefined;
  return join(mount.point, relative(mount.root, path));
}

/** A process's group in every hierarchy. */
export class ControlGroup {
  /** 1 also on hybrid hosts, where controllers are in hierarchies of their own. */
  readonly version: 1 | 2;
  readonly #directories: ReadonlyMap<string, string>;

  private constructor(version: 1 | 2, directories: ReadonlyMap<string, string>) {
    this.version = version;
    this.#directories = directories;
  }

  /** undefined when there is no such process. */
  static of(pid: number): ControlGroup | undefined {
    const paths = readControlGroups(pid);
    return paths && ControlGroup.at(paths);
  }

  /** The group with that path by controller; the path of the unified hierarchy has the empty name. */
  static at(paths: ReadonlyMap<string, string>): ControlGroup {
    hierarchies ??= readHierarchies();
    const { legacy, unified } = hierarchies;
    const hasLegacy = legacy.has('memory') || legacy.has('pids') || legacy.has('cpu');
    if (!hasLegacy) return ControlGroup.unified(locate(unified, paths.get('') ?? ''));
    const directories = new Map<string, string>();
    for (const [controller, path] of paths) {
      const directory = locate(controller === '' ? unified : legacy.get(controller), path);
      if (directory !== undefined) directories.set(controller, directory);
    }
    return new ControlGroup(1, directories);
  }

  /** A group of version 2 by its directory; without one there is no such group. */
  static unified(directory: string | undefined): ControlGroup {
    return new ControlGroup(2, new Map(directory === undefined ? [] : [['', directory]]));
  }

  /** The same path below the root in every hierarchy: what an OCI spec's `cgroupsPath` means to cgroupfs. */
  static everywhere(path: string): ControlGroup {
    hierarchies ??= readHierarchies();
    const { legacy, unified } = hierarchies;
    const controllers = [...legacy.keys(), ...(unified ? [''] : [])];
    return ControlGroup.at(new Map(controllers.map((controller) => [controller, path])));
  }

  /** The group of that name inside this one. */
  below(name: string): ControlGroup {
    return new ControlGroup(
      this.version,
      new Map([...this.#directories].map(([key, path]) => [key, join(path, name)])),
    );
  }

  /** True while its processes are paused. */
  frozen(): boolean {
    const directory = this.directory('freezer');
    return this.version === 1
      ? readText(directory, 'freezer.state') !== 'THAWED' && readText(directory, 'freezer.state') !== undefined
      : readText(directory, 'cgroup.freeze') === '1';
  }

  /** Of a controller (`memory`, `pids`, ...); in version 2 that of the one group, whatever is asked for. */
  directory(controller: string): string | undefined {
    return this.#directories.get(this.version === 2 ? '' : controller);
  }

  /** Numbers of all processes of the group and of those below it. Empty when the group is gone. */
  processes(): number[] {
    const top = this.directory('pids') ?? this.directory('devices') ?? this.directory('name=systemd');
    return top === undefined ? [] : [...new Set(processesBelow(top))];
  }

  /** Moves a process, with all its threads, into the group, in every hierarchy that has it. False when none has. */
  take(pid: number): boolean {
    const there = [...new Set(this.#directories.values())].filter((directory) => existsSync(directory));
    for (const directory of there) writeFileSync(join(directory, 'cgroup.procs'), String(pid));
    return there.length > 0;
  }

  /** Removes the group and those below it, as far as they are empty. */
  remove(): void {
    for (const directory of new Set(this.#directories.values())) removeTree(directory);
  }

  /** Removes the group if it is empty and has none below it. */
  removeAlone(): void {
    for (const directory of new Set(this.#directories.values())) removeEmpty(directory);
  }
}

function processesBelow(directory: string): number[] {
  const own = readRows(directory, 'cgroup.procs').map(([pid]) => Number(pid));
  return [...own, ...listGroups(directory).flatMap(processesBelow)];
}

/** Most groups have none below: they are looked for when the kernel says that there may be some. */
function removeTree(directory: string): void {
  if (removeEmpty(directory)) return;
  for (const below of listGroups(directory)) removeTree(below);
  removeEmpty(directory);
}

/** False when there are processes or groups in it; of one that is gone there is nothing to do. */
function removeEmpty(directory: string): boolean {
  try {
    rmdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'EBUSY', 'ENOTEMPTY')) return false;
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  return true;
}
