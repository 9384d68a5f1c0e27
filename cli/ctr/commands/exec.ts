import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import type { Client } from '../../../client/index.js';
import { hasCode, notFound } from '../../../kernel/errors.js';
import { mergeEnv } from '../../../lib/oci/runtime-spec.js';
import { packJson } from '../../../lib/rpc/any.js';
import { onDaemon } from '../../connection.js';
import { specProcess } from '../container-spec.js';
import { inForeground } from '../foreground.js';
import { withProcessOptions } from '../run-options.js';
import { userIn } from '../runtime-user.js';
import { DEFAULT_FIFO_DIRECTORY, makeStdio, removeStdio, startDetached } from '../stdio.js';

const PROCESS_TYPE_URL = 'types.containerd.io/opencontainers/runtime-spec/1/Process';

interface ExecOptions {
  readonly execId?: string;
  readonly tty?: boolean;
  readonly detach?: boolean;
  readonly env: readonly string[];
  readonly user?: string;
  readonly cwd?: string;
  readonly detachKeys: string;
  readonly fifoDir: string;
}

async function execProcess(client: Client, id: string, args: readonly string[], options: ExecOptions) {
  const { container } = await client.containers.get({ id });
  if (!container) throw notFound(`container "${id}" does not exist`);
  const base = specProcess(container);
  const { snapshotter, snapshotKey: key } = container;
  const rootfs = options.user && key !== '' ? (await client.snapshots.mounts({ snapshotter, key })).mounts : [];
  return {
    ...base,
    args,
    terminal: options.tty ?? false,
    env: mergeEnv(base.env ?? [], [...(options.tty ? ['TERM=xterm'] : []), ...options.env]),
    cwd: options.cwd ?? base.cwd,
    ...(options.user === undefined ? {} : { user: await userIn(rootfs, options.user) }),
  };
}

async function exec(client: Client, id: string, args: readonly string[], options: ExecOptions): Promise<void> {
  const spec = packJson(PROCESS_TYPE_URL, await execProcess(client, id, args, options));
  const execId = options.execId ?? `exec-${randomBytes(6).toString('hex')}`;
  const name = { containerId: id, execId };
  const stdio = await makeStdio(options.fifoDir, `${id}-${execId}`, options.tty ?? false);
  const start = async (): Promise<void> => {
    await client.tasks.exec({ ...name, ...stdio, spec });
    await client.tasks.start(name);
  };
  const remove = async (): Promise<void> => {
    await client.tasks.deleteProcess(name).catch((error: unknown) => {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    });
    await removeStdio(stdio);
  };
  try {
    if (options.detach) {
      await startDetached(stdio, start);
      return;
    }
    const ending = await inForeground(client, { process: name, stdio, detachKeys: options.detachKeys, start });
    if (ending.kind === 'detached') return;
    process.exitCode = ending.code;
  } catch (error) {
    await remove();
    throw error;
  }
  await remove();
}

export const addExec = (program: Command): void => {
  withProcessOptions(program.command('exec'))
    .description('run another process in a container')
    .option('--exec-id <id>', 'id of the process; random when absent')
    .option('--fifo-dir <path>', 'directory of the streams of the process', DEFAULT_FIFO_DIRECTORY)
    .argument('<id>', 'the container')
    .argument('<command...>', 'program and arguments')
    .passThroughOptions()
    .action((id: string, args: string[], options: ExecOptions, command: Command) =>
      onDaemon(command, (client) => exec(client, id, args, options)),
    );
};
