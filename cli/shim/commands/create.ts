import { existsSync } from 'node:fs';
import { copyFile, mkdir, realpath, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { bundlePath, connectShim, type Shim } from '../../../client/shim.js';
import { alreadyExists, hasCode } from '../../../kernel/errors.js';
import { isErrno } from '../../../lib/errno.js';
import { launchSupervisor } from '../../../lib/supervisor/launch.js';
import { runtimeRoot, SOCKET, supervisorDirectory, tasksDirectory } from '../../../lib/supervisor/layout.js';
import type { ShimOptions } from '../connection.js';

interface CreateOptions extends ShimOptions {
  readonly bundle: string;
  readonly tty?: boolean;
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly binary: string;
}

/** Milliseconds one run of the OCI runtime may take. */
const DEADLINE = 120_000;

/** The supervisor of the namespace; started when none serves. */
async function connectOrLaunch({ state, namespace, binary }: CreateOptions): Promise<Shim> {
  const tasks = tasksDirectory(state);
  const directory = supervisorDirectory(tasks, namespace);
  const address = { socket: join(directory, SOCKET), namespace };
  try {
    return await connectShim(address);
  } catch (error) {
    if (!hasCode(error, 'UNAVAILABLE')) throw error;
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await launchSupervisor(directory, {
    namespace,
    group: namespace,
    bundles: join(tasks, namespace),
    binary,
    runtimeRoot: runtimeRoot(tasks),
    systemdCgroup: false,
    deadline: DEADLINE,
  });
  return connectShim(address);
}

/** The supervisor's own bundle of the task, with the spec of the one given. */
async function makeBundle({ state, namespace, bundle }: CreateOptions, id: string): Promise<string> {
  const path = bundlePath(state, namespace, id);
  await mkdir(join(path, '..'), { recursive: true, mode: 0o711 });
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw alreadyExists(`task "${id}" exists`);
    throw error;
  }
  await copyFile(join(bundle, 'config.json'), join(path, 'config.json'));
  const socket = join(supervisorDirectory(tasksDirectory(state), namespace), SOCKET);
  await writeFile(join(path, 'address'), `unix://${socket}`, { mode: 0o600 });
  return path;
}

async function create(id: string, options: CreateOptions): Promise<void> {
  const bundle = await makeBundle(options, id);
  try {
    using shim = await connectOrLaunch(options);
    const rootfs = resolve(options.bundle, 'rootfs');
    const mount = { type: 'bind', source: rootfs, target: '', options: ['rbind', 'rw'] };
    const request = {
      id,
      bundle: await realpath(bundle),
      rootfs: existsSync(rootfs) ? [mount] : [],
      terminal: options.tty ?? false,
      stdin: options.stdin,
      stdout: options.stdout,
      stderr: options.stderr,
      checkpoint: '',
      parentCheckpoint: '',
      options: undefined,
    };
    const { pid } = await shim.tasks.create(request, shim.call);
    process.stdout.write(`${pid}\n`);
  } catch (error) {
    await rm(bundle, { recursive: true, force: true });
    throw error;
  }
}

export const addCreate = (program: Command): void => {
  program
    .command('create')
    .description('create a task from an OCI bundle: its config.json, and rootfs/ if it has one; prints the pid')
    .requiredOption('-b, --bundle <directory>', 'the OCI bundle')
    .option('-t, --tty', 'with a terminal')
    .option('--stdin <path>', 'FIFO of the input', '')
    .option('--stdout <uri>', 'FIFO, file:// or binary:// of the output', '')
    .option('--stderr <uri>', 'as --stdout', '')
    .option('--binary <runtime>', 'OCI runtime, should a supervisor have to be started', 'runc')
    .argument('<id>', 'the task')
    .action((id: string, _options: object, command: Command) => create(id, command.optsWithGlobals<CreateOptions>()));
};
