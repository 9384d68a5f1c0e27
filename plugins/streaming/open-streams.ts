import type { Scope } from '../../kernel/contracts/scope.js';
import type { MessageStream, Streams } from '../../kernel/contracts/streams.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';

/** Characters of a stream id; clients make ids of some thirty. */
const MAX_ID = 256;

const shown = (id: string): string => JSON.stringify(id.slice(0, 100));

/** The streams of all namespaces, by namespace and id. */
export class OpenStreams implements Streams {
  readonly #streams = new Map<string, Map<string, MessageStream>>();

  register({ namespace }: Scope, id: string, stream: MessageStream): void {
    if (id === '' || id.length > MAX_ID) {
      throw invalidArgument(`stream id ${shown(id)} is not 1 to ${MAX_ID} characters long`);
    }
    const streams = this.#streams.get(namespace) ?? new Map<string, MessageStream>();
    if (streams.has(id)) throw alreadyExists(`stream ${shown(id)} is open in namespace "${namespace}"`);
    streams.set(id, stream);
    this.#streams.set(namespace, streams);
  }

  get({ namespace }: Scope, id: string): MessageStream {
    const stream = this.#streams.get(namespace)?.get(id);
    if (stream) return stream;
    throw notFound(`stream ${shown(id)} is not open in namespace "${namespace}"`, {
      remedy: 'open it with the streaming service before the call that names it',
    });
  }

  unregister({ namespace }: Scope, id: string): void {
    const streams = this.#streams.get(namespace);
    streams?.delete(id);
    if (streams?.size === 0) this.#streams.delete(namespace);
  }
}
