/**
 * Makes generated decoders refuse what they would otherwise let through:
 * bytes that are not UTF-8 in a string, the tag 0, and a field that runs over
 * the end of its message. And makes them keep the map key `__proto__`, which a
 * plain assignment would take for something else.
 *
 * usage: node strict.mjs DIRECTORY
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** An assignment that makes a property of the map's own whatever the key is. */
const keeping = (map, key, value) =>
  `if (${key} === "__proto__") globalThis.Object.defineProperty(${map}, ${key}, { value: ${value}, writable: true, enumerable: true, configurable: true });\nelse ${map}[${key}] = ${value};`;

const RULES = [
  { name: 'strings are UTF-8', find: /reader\.string\(\)/g, put: 'reader.string(true)' },
  {
    name: 'no tag 0',
    find: /if \(\(tag & 7\) === 4 \|\| tag === 0\) \{\s*break;\s*\}/g,
    put: 'if ((tag & 7) === 4 || tag >>> 3 === 0) throw new globalThis.Error("invalid protobuf tag");',
  },
  {
    name: 'fields end with their message',
    find: /\n\s*return message;\n\s*\} finally/g,
    put: '\n if (reader.pos !== end) throw new globalThis.Error("protobuf field runs over its message");$&',
  },
  {
    name: 'any map key, decoded',
    find: /(message\.\w+)\[(entry\d+)\.key\] = (entry\d+\.value);/g,
    put: keeping('$1', '$2.key', '$3'),
  },
  {
    name: 'any map key, completed',
    find: /\b(acc)\[(key)\] = ([^;\n]+);/g,
    put: keeping('$1', '$2', '$3'),
  },
];

const directory = process.argv[2] ?? '.';
const sources = globSync('**/*.ts', { cwd: directory }).map((file) => join(directory, file));
const texts = new Map(sources.map((file) => [file, readFileSync(file, 'utf8')]));

for (const { name, find, put } of RULES) {
  if (![...texts.values()].some((text) => text.search(find) >= 0)) {
    throw new Error(`strict.mjs: no generated code matches the rule "${name}"; adapt it to this version of ts-proto`);
  }
  for (const [file, text] of texts) texts.set(file, text.replaceAll(find, put));
}
for (const [file, text] of texts) writeFileSync(file, text);
