/**
 * Fields of events for filters: `namespace`, `topic`, and `event.<field>` by
 * the name the field has on the wire (`event.container_id`). Numbers, bytes
 * and lists have no field, as in containerd.
 */
import * as containers from '../../api/gen/events/container.js';
import * as content from '../../api/gen/events/content.js';
import * as images from '../../api/gen/events/image.js';
import * as namespaces from '../../api/gen/events/namespace.js';
import * as sandboxes from '../../api/gen/events/sandbox.js';
import * as snapshots from '../../api/gen/events/snapshot.js';
import * as tasks from '../../api/gen/events/task.js';
import type { Envelope } from '../../kernel/contracts/events.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';

type Decode = (bytes: Uint8Array) => object;

const codecs = [containers, content, images, namespaces, sandboxes, snapshots, tasks].flatMap((module) =>
  Object.values(module),
);

const DECODERS: ReadonlyMap<string, Decode> = new Map(codecs.map((codec) => [codec.$type, codec.decode]));

/** Wire name to name in generated code: `container_id` to `containerId`. */
const camel = (name: string): string => name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

const isLabels = (value: unknown): value is Readonly<Record<string, string>> =>
  typeof value === 'object' && value !== null && Object.values(value).every((entry) => typeof entry === 'string');

function fieldOf(message: object, [name = '', ...rest]: readonly string[]): string | undefined {
  const value = Object.entries(message).find(([key]) => key === camel(name))?.[1];
  if (name === 'labels' && isLabels(value)) return mapField(value, rest);
  if (typeof value === 'object' && value !== null) return fieldOf(value, rest);
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'string' ? nonEmpty(value) : undefined;
}

/** Undefined for an event of a type that is not known, or that does not decode. */
function decode({ typeUrl, value }: AnyMessage): object | undefined {
  try {
    return DECODERS.get(typeUrl)?.(value);
  } catch {
    return undefined;
  }
}

/** Decodes the event only when a filter asks for its fields, and only once for all subscribers. */
export function fieldsOf({ namespace, topic, event }: Envelope): Fields {
  let decoded: { readonly message: object | undefined } | undefined;
  return ([field, ...rest]) => {
    if (field === 'namespace') return nonEmpty(namespace);
    if (field === 'topic') return nonEmpty(topic);
    if (field !== 'event') return undefined;
    decoded ??= { message: decode(event) };
    return decoded.message === undefined ? undefined : fieldOf(decoded.message, rest);
  };
}
