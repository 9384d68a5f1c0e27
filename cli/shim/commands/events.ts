import type { Command } from 'commander';
import { decodeEvent } from '../../../client/index.js';
import type { ShimEvent } from '../../../client/shim.js';
import { onShim } from '../connection.js';

const printable = (_key: string, value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
};

function line({ topic, event }: ShimEvent): string {
  return `${topic} ${JSON.stringify(event ? (decodeEvent(event) ?? { typeUrl: event.typeUrl }) : {}, printable)}\n`;
}

export const addEvents = (program: Command): void => {
  program
    .command('events')
    .description('show the events of the supervisor of a task, until interrupted; first those no daemon has fetched')
    .argument('<id>', 'any of its tasks')
    .action((id: string, _options: object, command: Command) =>
      onShim(command, id, async (shim) => {
        for await (const event of shim.events()) process.stdout.write(line(event));
      }),
    );
};
