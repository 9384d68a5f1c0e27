/**
 * Fields of events for filters: `namespace`, `topic`, and `event.<field>` by
 * the name the field has on the wire (`event.container_id`). Numbers, bytes
 * and lists have no field, as in containerd.
 */
import { decodeEvent } from '../../api/events.js';
import type { Envelope } from '../../kernel/contracts/events.js';
import { type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';

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

/** Decodes the event only when a filter asks for its fields, and only once for all subscribers. */
export function fieldsOf({ namespace, topic, event }: Envelope): Fields {
  let decoded: { readonly message: object | undefined } | undefined;
  return ([field, ...rest]) => {
    if (field === 'namespace') return nonEmpty(namespace);
    if (field === 'topic') return nonEmpty(topic);
    if (field !== 'event') return undefined;
    decoded ??= { message: decodeEvent(event) };
    return decoded.message === undefined ? undefined : fieldOf(decoded.message, rest);
  };
}
