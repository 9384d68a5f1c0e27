/** The OCI runtime's command line: runc(8), and crun and runsc, which take the same. */
import { closeSync, existsSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, delimiter, join, relative, resolve } from 'node:path';
import {
  deadlineExceeded,
  failedPrecondition,
  hasCode,
  internal,
  type KeelsonError,
  notFound,
} from '../../../kernel/errors.js';
import { isErrno } from '../../../lib/errno.js';
import { type ProgramEnd, runProgram } from './program.js';
import type { Reaper } from './reaper.js';

export interface RuntimeSettings {
  /** A name to look up in PATH, or an absolute path. */
  readonly binary: string;
  /** Where the runtime keeps its own state of containers. */
  readonly root: string;
  readonly systemdCgroup: boolean;
  /** Milliseconds one run of it may take. */
  readonly deadline: number;
}

export interface Making {
  readonly bundle: string;
  readonly pidFile: string;
  /** Descriptors 0, 1 and 2 of the process to be made. */
  readonly files: readonly number[];
  readonly consoleSocket?: string | undefined;
}

export interface MakingInit extends Making {
  readonly noPivotRoot: boolean;
  readonly noNewKeyring: boolean;
  /** Directory of a checkpoint image to start from. */
  readonly checkpoint?: string | undefined;
  /** CRIU's working directory, with a checkpoint. */
  readonly criuWorkPath?: string | undefined;
}

export interface CheckpointFlags {
  readonly imagePath: string;
  readonly workPath: string;
  /** Directory of an earlier image that this one builds on, absolute or as seen from `imagePath`; empty for none. */
  readonly parentPath: string;
  readonly leaveRunning: boolean;
  /** Long options without a value. */
  readonly switches: readonly string[];
  readonly cgroupsMode: string;
  readonly emptyNamespaces: readonly string[];
}

const environment: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
);

function isExecutable(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && (stat.mode & 0o111) !== 0;
}

/** The program's absolute path. FAILED_PRECONDITION, with what to do, when there is none. */
export function findProgram(name: string): string {
  const paths = name.startsWith('/') ? [name] : (process.env.PATH ?? '').split(delimiter).map((d) => join(d, name));
  const found = paths.find((path) => path.startsWith('/') && isExecutable(path));
  if (found !== undefined) return found;
  throw failedPrecondition(`OCI runtime "${name}" is missing or not executable`, {
    remedy: name.startsWith('/')
      ? 'install it or configure another'
      : `install the package "${name}", or give its path`,
  });
}

interface LogLine {
  readonly level: string;
  readonly message: string;
}

function parseLogLine(line: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null) return undefined;
    const level = 'level' in value && typeof value.level === 'string' ? value.level : '';
    return 'msg' in value && typeof value.msg === 'string' ? { level, message: value.msg } : undefined;
  } catch (error) {
    // A line cut off by the runtime's end.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The last complaint in a log of JSON lines; empty when there is none. */
function lastError(path: string): string {
  try {
    const lines = readFileSync(path, 'utf8').split('\n').map(parseLogLine);
    return lines.findLast((line) => line?.level === 'error' || line?.level === 'fatal')?.message ?? '';
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

/** The first error in a log of criu's, which tells more than the runtime does; empty when there is none. */
function criuComplaint(path: string): string {
  try {
    return /^\([\d.]+\) Error (.*)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? '';
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return '';
    throw error;
  }
}

/** What runtimes say, as the taxonomy knows it. The wording is kept: clients look into it. */
function runtimeError(doing: string, id: string, complaint: string, exitStatus: number): KeelsonError {
  const message = `OCI runtime ${doing} failed: ${complaint === '' ? `exit status ${exitStatus}` : complaint}`;
  const about = `${message} (container "${id}")`;
  if (/process already finished|no such process|container not running|not running/i.test(complaint)) {
    return notFound(`process already finished: ${about}`);
  }
  if (/does not exist|not exist/i.test(complaint) && doing !== 'create' && doing !== 'exec') return notFound(about);
  if (/paused|cannot (pause|resume|start|exec)/i.test(complaint)) return failedPrecondition(about);
  return internal(about);
}

let runs = 0;

/** Name of the log of one run of a runtime, in the supervisor's directory; it tells such runs from other processes. */
const nextLog = (): string => `log-${process.pid}-${runs++}.json`;

export const isRuntimeLog = (path: string): boolean => /^(?:.*\/)?log-\d+-\d+\.json$/.test(path);

export class OciRuntime {
  readonly #settings: RuntimeSettings;
  readonly #reaper: Reaper;

  constructor(settings: RuntimeSettings, reaper: Reaper) {
    this.#settings = settings;
    this.#reaper = reaper;
  }

  create(id: string, making: MakingInit): Promise<void> {
    const restoring = making.checkpoint !== undefined;
    const flags = ['--bundle', making.bundle, '--pid-file', making.pidFile];
    if (making.consoleSocket) flags.push('--console-socket', making.consoleSocket);
    if (making.noPivotRoot) flags.push('--no-pivot');
    if (making.noNewKeyring && !restoring) flags.push('--no-new-keyring');
    if (restoring) flags.push('--detach', '--image-path', making.checkpoint, '--work-path', making.criuWorkPath ?? '');
    const command = restoring ? 'restore' : 'create';
    return this.#reaper.whileMaking(() => this.#run(command, id, flags, making.files));
  }

  /** `spec`: the OCI process, JSON. */
  async exec(id: string, making: Making, spec: Uint8Array): Promise<void> {
    const processFile = `${making.pidFile}.json`;
    const flags = ['--process', processFile, '--pid-file', making.pidFile, '--detach'];
    if (making.consoleSocket) flags.push('--console-socket', making.consoleSocket);
    writeFileSync(processFile, spec, { mode: 0o600 });
    try {
      await this.#reaper.whileMaking(() => this.#run('exec', id, flags, making.files));
    } finally {
      rmSync(processFile, { force: true });
    }
  }

  /** `created`, `running`, `paused` or `stopped` (OCI runtime-spec, state); empty when the runtime knows none of that id. */
  async status(id: string): Promise<string> {
    const output = join(process.cwd(), `state-${process.pid}-${runs}.json`);
    const file = openSync(output, 'w', 0o600);
    const nothing = openSync('/dev/null', 'r+');
    try {
      await this.#run('state', id, [], [nothing, file, nothing]);
      const state: unknown = JSON.parse(readFileSync(output, 'utf8'));
      return typeof state === 'object' && state !== null && 'status' in state ? String(state.status) : '';
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return '';
      throw error;
    } finally {
      for (const fd of [file, nothing]) closeSync(fd);
      rmSync(output, { force: true });
    }
  }

  start(id: string): Promise<void> {
    return this.#run('start', id);
  }

  /** Milliseconds one run of it may take. */
  get deadline(): number {
    return this.#settings.deadline;
  }

  get #isRunc(): boolean {
    return basename(this.#settings.binary) === 'runc';
  }

  /** The FIFO at which the init process of a container waits to be started, where there is such a thing: with runc. */
  gateOf(id: string): string | undefined {
    const gate = join(this.#settings.root, id, 'exec.fifo');
    return this.#isRunc && existsSync(gate) ? gate : undefined;
  }

  /** It is runc, which keeps a container in a directory of its own and in control groups it makes itself. */
  get keepsOnlyFiles(): boolean {
    return this.#isRunc && !this.#settings.systemdCgroup;
  }

  /** Removes what runc keeps of a container that has ended. */
  forget(id: string): void {
    rmSync(join(this.#settings.root, id), { recursive: true, force: true });
  }

  /** Of a container that is gone already: nothing to do. With `force` it is killed first. */
  async delete(id: string, force = false): Promise<void> {
    try {
      await this.#run('delete', id, force ? ['--force'] : []);
    } catch (error) {
      if (error instanceof Error && /does not exist/.test(error.message)) return;
      throw error;
    }
  }

  /** Every process of the container. */
  killAll(id: string, signal: number): Promise<void> {
    return this.#run('kill', id, ['--all'], undefined, [String(signal)]);
  }

  pause(id: string): Promise<void> {
    return this.#run('pause', id);
  }

  resume(id: string): Promise<void> {
    return this.#run('resume', id);
  }

  update(id: string, resourcesFile: string): Promise<void> {
    return this.#run('update', id, ['--resources', resourcesFile]);
  }

  async checkpoint(id: string, flags: CheckpointFlags): Promise<void> {
    const args = ['--image-path', flags.imagePath, '--work-path', flags.workPath];
    // Runtimes take it only as seen from the image, and criu writes it down so.
    if (flags.parentPath !== '')
      args.push('--parent-path', relative(flags.imagePath, resolve(flags.imagePath, flags.parentPath)));
    if (flags.leaveRunning) args.push('--leave-running');
    if (flags.cgroupsMode !== '') args.push('--manage-cgroups-mode', flags.cgroupsMode);
    for (const name of flags.emptyNamespaces) args.push('--empty-ns', name);
    try {
      await this.#run('checkpoint', id, [...args, ...flags.switches]);
    } catch (error) {
      const reason = criuComplaint(join(flags.workPath, 'dump.log'));
      if (reason === '' || !(error instanceof Error)) throw error;
      throw internal(`${error.message}: ${reason}`, { cause: error });
    }
  }

  async #run(
    command: string,
    id: string,
    flags: readonly string[] = [],
    files?: readonly number[],
    operands: readonly string[] = [],
  ): Promise<void> {
    const { binary, root, systemdCgroup, deadline } = this.#settings;
    const path = findProgram(binary);
    // In the supervisor's own directory; absolute, since some runtimes open it only when they are in the bundle.
    const log = join(process.cwd(), nextLog());
    const global = [
      '--root',
      root,
      '--log',
      log,
      '--log-format',
      'json',
      ...(systemdCgroup ? ['--systemd-cgroup'] : []),
    ];
    const args = [...global, command, ...flags, id, ...operands];
    const nothing = openSync('/dev/null', 'r+');
    try {
      const end = await runProgram(this.#reaper, {
        path,
        args,
        env: environment,
        cwd: process.cwd(),
        files: files ?? [nothing, nothing, nothing],
        deadline,
      });
      checkEnd(end, command, id, log, deadline);
    } finally {
      closeSync(nothing);
      rmSync(log, { force: true });
    }
  }
}

function checkEnd({ exitStatus, late }: ProgramEnd, command: string, id: string, log: string, deadline: number): void {
  if (late) throw deadlineExceeded(`OCI runtime ${command} of container "${id}" did not end within ${deadline} ms`);
  if (exitStatus !== 0) throw runtimeError(command, id, lastError(log), exitStatus);
}
