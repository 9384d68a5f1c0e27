/** Names of images in archives, by containerd's rules (its core/images/archive and the Transfer service's ImageReference). */
import type { ImportName } from '../../../kernel/contracts/archives.js';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { labelOf } from '../../../lib/labels.js';

export const IMAGE_NAME = 'io.containerd.image.name';
export const REF_NAME = 'org.opencontainers.image.ref.name';

/** The tag of a full name, or all of it when it has none: what OCI's annotation holds. */
export function tagOf(name: string): string {
  const tag = /:([\w][\w.-]{0,127})$/.exec(name)?.[1];
  return tag !== undefined && !name.includes('@') ? tag : name;
}

/** `alpine:3` for `docker.io/library/alpine:3`, as Docker shows it. */
export const familiarName = (name: string): string => name.replace(/^docker\.io\/(?:library\/(?=[^/]+$))?/, '');

const begins = (name: string, prefix: string): boolean =>
  name === prefix || (name.startsWith(prefix) && ['/', ':', '@'].includes(name.charAt(prefix.length)));

/** The name that an entry of the index gets under a prefix; empty when it gets none. */
function named({ annotations = {} }: Descriptor, { name: prefix, allowOverwrite }: ImportName): string {
  const full = labelOf(annotations, IMAGE_NAME) ?? '';
  const text = full === '' ? (labelOf(annotations, REF_NAME) ?? '') : full;
  if (text === '' || prefix === '') return '';
  if (/[/:@]/.test(text)) return allowOverwrite || begins(text, prefix) ? text : '';
  return `${prefix}:${text}`;
}

/** The names of one entry of an archive's index. */
export function entryNames(entry: Descriptor, names: readonly ImportName[]): readonly string[] {
  const found = names
    .filter(({ isPrefix }) => isPrefix)
    .flatMap((rule) => {
      const name = named(entry, rule);
      const byDigest = rule.addDigest ? [`${rule.name}@${entry.digest}`] : [];
      if (name === '') return byDigest;
      return [name, ...(rule.skipNamedDigest ? [] : byDigest)];
    });
  return [...new Set(found)];
}

/** The names of the whole index. */
export function indexNames({ digest }: Descriptor, name: string, names: readonly ImportName[]): readonly string[] {
  const others = names
    .filter(({ isPrefix, addDigest }) => !isPrefix || addDigest)
    .map((rule) => (rule.addDigest ? `${rule.name}@${digest}` : rule.name));
  return [...new Set([...(name === '' ? [] : [name]), ...others])];
}
