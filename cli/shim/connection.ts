/** Which shim a command speaks to. */
import type { Command } from 'commander';
import { connectShim, findShim, type Shim } from '../../client/shim.js';

export const DEFAULT_STATE = '/run/keelson';

export interface ShimOptions {
  readonly state: string;
  readonly namespace: string;
  readonly socket?: string;
}

export const withShim = (program: Command): Command =>
  program
    .option('--state <directory>', 'state directory of the daemon, which need not run', DEFAULT_STATE)
    .option('-n, --namespace <name>', 'namespace of the task', process.env.CONTAINERD_NAMESPACE ?? 'default')
    .option('--socket <path>', 'socket of the shim; default: what the bundle of the task says');

/** Runs an action on the shim of a task. */
export async function onShim(command: Command, id: string, action: (shim: Shim) => Promise<void>): Promise<void> {
  const { state, namespace, socket } = command.optsWithGlobals<ShimOptions>();
  using shim = await connectShim(socket === undefined ? await findShim(state, namespace, id) : { socket, namespace });
  await action(shim);
}
