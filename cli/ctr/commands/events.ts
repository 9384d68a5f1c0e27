import type { Command } from 'commander';
import * as container from '../../../api/gen/events/container.js';
import * as content from '../../../api/gen/events/content.js';
import * as image from '../../../api/gen/events/image.js';
import * as namespace from '../../../api/gen/events/namespace.js';
import * as sandbox from '../../../api/gen/events/sandbox.js';
import * as snapshot from '../../../api/gen/events/snapshot.js';
import * as task from '../../../api/gen/events/task.js';
import type { Envelope } from '../../../api/gen/types/event.js';
import { onDaemon } from '../../connection.js';

const MODULES: readonly object[] = [container, content, image, namespace, sandbox, snapshot, task];

/** Decoders by message name, `TaskExit` for `containerd.events.TaskExit`. */
const CODECS = new Map(MODULES.flatMap((module) => Object.entries(module)));

/** The event's fields; what is not known here is shown by its type alone. */
function fields({ typeUrl, value }: { typeUrl: string; value: Uint8Array }): unknown {
  const codec: unknown = CODECS.get(typeUrl.replace(/^.*containerd\.events\./, ''));
  if (typeof codec !== 'object' || codec === null || !('decode' in codec) || typeof codec.decode !== 'function') {
    return { typeUrl };
  }
  return codec.decode(value);
}

const printable = (_key: string, value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
};

function line({ timestamp, namespace: name, topic, event }: Envelope): string {
  const time = timestamp ? new Date(Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6).toISOString() : '';
  return `${time} ${name} ${topic} ${JSON.stringify(event ? fields(event) : {}, printable)}\n`;
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
