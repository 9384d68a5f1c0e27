import { buffer } from 'node:stream/consumers';
import { Any, connect } from '../../client/index.js';
import { invalidArgument } from '../../kernel/errors.js';

const DEFAULT_ADDRESS = '/run/keelson/keelson.sock';

/** Milliseconds the daemon may take. */
const DEADLINE = 10_000;

export interface Publication {
  readonly namespace: string;
  readonly topic: string;
  /** The daemon's socket. */
  readonly address: string | undefined;
}

function parse(bytes: Buffer): Any {
  try {
    return Any.decode(bytes);
  } catch (cause) {
    throw invalidArgument('what came on standard input is no google.protobuf.Any', { cause });
  }
}

/** Publishes the event on standard input. INVALID_ARGUMENT when it is none; as the daemon answers. */
export async function publish({ namespace, topic, address = DEFAULT_ADDRESS }: Publication): Promise<void> {
  const event = parse(await buffer(process.stdin));
  using client = connect({ address, namespace });
  await client.events.publish({ topic, event }, { timeout: DEADLINE });
}
