/** The payloads of the events that the API knows (package containerd.events). */
import * as containers from './gen/events/container.js';
import * as content from './gen/events/content.js';
import * as images from './gen/events/image.js';
import * as namespaces from './gen/events/namespace.js';
import * as sandboxes from './gen/events/sandbox.js';
import * as snapshots from './gen/events/snapshot.js';
import * as tasks from './gen/events/task.js';

type Decode = (bytes: Uint8Array) => object;

const codecs = [containers, content, images, namespaces, sandboxes, snapshots, tasks].flatMap((module) =>
  Object.values(module),
);

const DECODERS: ReadonlyMap<string, Decode> = new Map(codecs.map((codec) => [codec.$type, codec.decode]));

/** The message in an event; undefined when its type is not known or its bytes do not decode. */
export function decodeEvent({
  typeUrl,
  value,
}: {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}): object | undefined {
  try {
    return DECODERS.get(typeUrl)?.(value);
  } catch {
    return undefined;
  }
}
