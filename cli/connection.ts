/** What every command line shares: which daemon, which namespace, and how failures end. */
import type { Command } from 'commander';
import { type Client, connect } from '../client/index.js';

export const DEFAULT_ADDRESS = '/run/keelson/keelson.sock';

interface GlobalOptions {
  readonly address: string;
  readonly namespace: string;
}

/** Adds `-a/--address` and `-n/--namespace`, with containerd's environment variables behind them. */
export const withConnection = (program: Command): Command =>
  program
    .option('-a, --address <path>', 'socket of the daemon', process.env.CONTAINERD_ADDRESS ?? DEFAULT_ADDRESS)
    .option('-n, --namespace <name>', 'namespace of the call', process.env.CONTAINERD_NAMESPACE ?? 'default');

/** Runs an action on a client of the daemon that the options name. */
export async function onDaemon(command: Command, action: (client: Client) => Promise<void>): Promise<void> {
  const { address, namespace } = command.optsWithGlobals<GlobalOptions>();
  using client = connect({ address, namespace });
  await action(client);
}

/** Parses the arguments and runs the command; a failure is one line on stderr and exit code 1. */
export async function runProgram(program: Command, args: readonly string[] = process.argv): Promise<void> {
  try {
    await program.parseAsync(args);
  } catch (error) {
    process.stderr.write(`${program.name()}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
