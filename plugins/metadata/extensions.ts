/** Extensions of containers and sandboxes: messages by name, in one column of text. */
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { type Row, stringMap } from '../../lib/sqlite/row.js';

export type Extensions = Readonly<Record<string, AnyMessage>>;

export const encodeExtensions = (extensions: Extensions): string =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(extensions).map(([key, { typeUrl, value }]) => [
        key,
        `${Buffer.from(value).toString('base64')} ${typeUrl}`,
      ]),
    ),
  );

export function decodeExtensions(row: Row): Extensions {
  const entries = Object.entries(stringMap(row, 'extensions')).map(([key, packed]) => {
    const space = packed.indexOf(' ');
    return [
      key,
      { typeUrl: packed.slice(space + 1), value: new Uint8Array(Buffer.from(packed.slice(0, space), 'base64')) },
    ] as const;
  });
  return Object.fromEntries(entries);
}

/** The extensions after the mask path `extensions` or `extensions.KEY`; undefined for a path about something else. */
export function maskExtensions(current: Extensions, incoming: Extensions, path: string): Extensions | undefined {
  if (path === 'extensions') return incoming;
  if (!path.startsWith('extensions.')) return undefined;
  const key = path.slice('extensions.'.length);
  const { [key]: _, ...others } = current;
  const value = Object.hasOwn(incoming, key) ? incoming[key] : undefined;
  return value ? { ...others, [key]: value } : others;
}
