import type { Command } from 'commander';
import { decodeEvent, type Envelope } from '../../../client/index.js';
import { onDaemon } from '../../connection.js';

const printable = (_key: string, value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
};

function line({ timestamp, namespace: name, topic, event }: Envelope): string {
  const time = timestamp ? new Date(Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6).toISOString() : '';
  return `${time} ${name} ${topic} ${JSON.stringify(event ? (decodeEvent(event) ?? { typeUrl: event.typeUrl }) : {}, printable)}\n`;
}

export const addEvents = (program: Command): void => {
  program
    .command('events')
    .description('show events as they happen, until interrupted')
    .argument('[filter...]', 'such as topic==/tasks/exit')
    .action((filters: string[], _options: object, command: Command) =>
      onDaemon(command, async (client) => {
        for await (const envelope of client.events.subscribe({ filters })) process.stdout.write(line(envelope));
      }),
    );
};
