import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { Background, type Outcome, run, succeed } from './command.js';
import { Ctr } from './ctr.js';
import { eventually } from './eventually.js';
import { belongings, cgroupDirectories, processesOf, type TestRun } from './leaks.js';
import { scratch } from './scratch.js';

/** Which program to start: ours, or the machine's containerd as the measure of it. */
export type DaemonKind = 'keelsond' | 'containerd';

/** The daemon that end-to-end tests run against: `KEELSON_E2E_PEER=containerd` runs them against the peer. */
export const peerKind = (): DaemonKind => (process.env.KEELSON_E2E_PEER === 'containerd' ? 'containerd' : 'keelsond');

export interface DaemonOptions {
  readonly kind?: DaemonKind;
  /** Text of the configuration file, behind what keeps a daemon of that kind to its own directory. */
  readonly config?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Another build of the program than that of its kind. */
  readonly program?: string;
  /** Plugin packages to find beside its configuration: name to directory. */
  readonly packages?: Readonly<Record<string, string>>;
  /** Milliseconds until its first answer. Default 20 000. */
  readonly startTimeout?: number;
}

const PROGRAMS: Readonly<Record<DaemonKind, string>> = {
  keelsond: fileURLToPath(new URL('../../../bin/keelsond', import.meta.url)),
  containerd: '/usr/bin/containerd',
};

const minimalConfig = (kind: DaemonKind, directory: string): string =>
  kind === 'keelsond'
    ? ''
    : `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[plugins."io.containerd.internal.v1.opt"]
path = "${directory}/opt"
`;

/** Resolves when the daemon answers a Version call. */
async function answers(address: string, timeout: number): Promise<void> {
  const client = new Client(`unix:${address}`, credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': 20,
    'grpc.min_reconnect_backoff_ms': 20,
    'grpc.max_reconnect_backoff_ms': 100,
  });
  const empty = (): Buffer => Buffer.alloc(0);
  const path = '/containerd.services.version.v1.Version/Version';
  const options = { deadline: Date.now() + timeout };
  try {
    await new Promise<void>((resolve, reject) => {
      const metadata = new Metadata({ waitForReady: true });
      client.makeUnaryRequest(path, empty, empty, undefined, metadata, options, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  } finally {
    client.close();
  }
}

/** A daemon with root, state and socket of its own. */
export class Daemon implements AsyncDisposable {
  readonly kind: DaemonKind;
  /** Holds everything of this daemon. */
  readonly directory: string;
  readonly root: string;
  readonly state: string;
  readonly address: string;
  readonly config: string;
  readonly #options: DaemonOptions;
  readonly #release: () => Promise<void>;
  readonly #logs: string[] = [];
  readonly #namespaces = new Set<string>();
  #process: Background | undefined;

  private constructor(options: DaemonOptions, directory: string, release: () => Promise<void>) {
    this.#options = options;
    this.#release = release;
    this.kind = options.kind ?? peerKind();
    this.directory = directory;
    this.root = join(directory, 'root');
    this.state = join(directory, 'state');
    this.address = join(directory, 'd.sock');
    this.config = join(directory, 'config.toml');
  }

  /** Starts a daemon; resolves when it answers. */
  static async start(options: DaemonOptions = {}): Promise<Daemon> {
    const directory = await scratch('d');
    const daemon = new Daemon(options, directory.path, async () => directory[Symbol.asyncDispose]());
    await mkdir(daemon.root, { mode: 0o700 });
    await mkdir(daemon.state, { mode: 0o711 });
    for (const [name, path] of Object.entries(options.packages ?? {})) {
      const link = join(directory.path, 'node_modules', name);
      await mkdir(dirname(link), { recursive: true });
      await symlink(path, link);
    }
    await writeFile(daemon.config, minimalConfig(daemon.kind, directory.path) + (options.config ?? ''));
    try {
      await daemon.start();
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
    return daemon;
  }

  /** Starts it again on what it left, after a `kill` or `stop`; `program`: another build of it. */
  async start(program = this.#options.program ?? PROGRAMS[this.kind]): Promise<void> {
    const { config, root, state, address } = this;
    const flags = ['--config', config, '--root', root, '--state', state, '--address', address, '--log-level', 'debug'];
    const process = new Background(program, flags, { env: this.#options.env ?? {} });
    this.#process = process;
    const ended = process.ended.then(({ code, signal, stderr, stdout }) => {
      this.#logs.push(stderr, stdout);
      return Promise.reject(new Error(`${this.kind} ended with ${signal ?? `code ${code}`}:\n${stderr}${stdout}`));
    });
    ended.catch(() => {}); // after the first answer, the end of the daemon is what `stop` and `kill` ask for
    try {
      await Promise.race([answers(address, this.#options.startTimeout ?? 20_000), ended]);
    } catch (error) {
      if (process.running) await process.stop('SIGKILL');
      this.#process = undefined;
      throw error;
    }
  }

  get pid(): number {
    if (!this.#process) throw new Error('the daemon was never started');
    return this.#process.pid;
  }

  /** Everything it has printed, over all its lives. */
  logs(): string {
    const now = this.#process?.running ? [this.#process.stderr.text, this.#process.stdout.text] : [];
    return [...this.#logs, ...now].join('');
  }

  /** Debian's unmodified `ctr` on this daemon. */
  ctr(namespace: string): Ctr {
    this.#namespaces.add(namespace);
    return new Ctr({ address: this.address, namespace });
  }

  /** SIGKILL: no chance to clean up. */
  async kill(): Promise<void> {
    await this.#process?.stop('SIGKILL');
  }

  /** SIGTERM, and waits for the end. */
  async stop(): Promise<Outcome | undefined> {
    return this.#process?.stop('SIGTERM');
  }

  /** Stops it and removes its directory; throws when mounts, loop devices or processes were left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const problems: string[] = [];
    await this.stop().catch((error: Error) => problems.push(error.message));
    const left = [...problems, ...(await leftBehind({ directory: this.directory, id: '' }))];
    for (const namespace of this.#namespaces) left.push(...(await this.#cgroupsOf(namespace)));
    await this.#release();
    if (left.length > 0) throw new Error(`${this.kind} left behind: ${left.join(', ')}\n${this.logs().slice(-4000)}`);
  }

  /** What is left of a namespace's cgroups; stock containerd leaves them, and runc's state, by habit. */
  async #cgroupsOf(namespace: string): Promise<string[]> {
    if (this.kind === 'containerd') await rm(join('/run/containerd/runc', namespace), { recursive: true, force: true });
    const found = this.kind === 'keelsond' ? await cgroupsOf(namespace) : [];
    await removeCgroups(namespace);
    return found;
  }
}

/** Directories of a namespace's control groups, children before parents. */
async function cgroupsOf(namespace: string): Promise<string[]> {
  const all = await cgroupDirectories();
  return all.filter((path) => path.split('/').includes(namespace)).reverse();
}

/** What stock shims leave of a namespace in the hierarchies of control groups. */
export async function removeCgroups(namespace: string): Promise<void> {
  await eventually(`cgroups of namespace "${namespace}" are empty`, async () => {
    const paths = await cgroupsOf(namespace);
    await run('rmdir', paths);
    return (await cgroupsOf(namespace)).length === 0 ? true : undefined;
  });
}

/** What is still there after a grace time; it is removed, so that one leak does not become many. */
async function leftBehind(testRun: TestRun): Promise<string[]> {
  try {
    await eventually('nothing left', async () => ((await belongings(testRun)).length === 0 ? true : undefined), 5_000);
    return [];
  } catch {
    const left = await belongings(testRun);
    for (const { pid } of await processesOf(testRun)) process.kill(pid, 'SIGKILL');
    await eventually('processes killed', async () => ((await processesOf(testRun)).length === 0 ? true : undefined));
    await unmountBelow(testRun.directory);
    return left;
  }
}

async function unmountBelow(directory: string): Promise<void> {
  const script = 'cut -d" " -f2 /proc/mounts | grep -F "$1/" | sort -r | xargs --no-run-if-empty umount --lazy';
  await succeed('sh', ['-c', script, 'sh', directory]);
}
