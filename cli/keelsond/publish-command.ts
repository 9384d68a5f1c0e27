/** `keelsond publish`, spelled out; what it does is loaded only when it is asked for. */
import { Command } from 'commander';

interface Flags {
  readonly namespace: string;
  readonly topic: string;
}

/** `address` yields what the flag of the program itself says. */
export const publishCommand = (address: () => string | undefined): Command =>
  new Command('publish')
    .description('publish an event at a daemon that runs: a binary google.protobuf.Any on standard input')
    .requiredOption('--namespace <name>', 'namespace of the event')
    .requiredOption('--topic <topic>', 'topic of the event, for example /tasks/exit')
    .action(async (flags: Flags) => (await import('./publish.js')).publish({ ...flags, address: address() }));
