/**
 * The labels by which objects tell the collector what they need, as
 * containerd's clients write them (docs/garbage-collection.md of containerd).
 */
import type { Labels } from '../../kernel/contracts/scope.js';
import { parseDuration } from '../../lib/duration.js';
import { labelOf } from '../../lib/labels.js';
import { parseRfc3339 } from '../../lib/rfc3339.js';
import { containerNode, contentNode, imageNode, type Node, snapshotNode } from './node.js';

const PREFIX = 'containerd.io/gc.';
export const EXPIRE = `${PREFIX}expire`;
export const FLAT = `${PREFIX}flat`;
const ROOT = `${PREFIX}root`;
const CONDITION = `${PREFIX}cond.snapshot`;
const USED_AT = `${PREFIX}cond.value-usedat`;

type Reference = (namespace: string, key: string, value: string) => Node | undefined;

/** `<prefix>`, or `<prefix>` and a name of the caller's after `.` or `/`. */
const named =
  (prefix: string, make: (namespace: string, key: string) => Node): Reference =>
  (namespace, key, value) =>
    key === prefix || key.startsWith(`${prefix}.`) || key.startsWith(`${prefix}/`) ? make(namespace, value) : undefined;

/** `<prefix>.<snapshotter>`, maybe with `/` and a name of the caller's. */
const ofSnapshot =
  (prefix: string): Reference =>
  (namespace, key, value) => {
    if (!key.startsWith(`${prefix}.`)) return undefined;
    const [snapshotter = ''] = key.slice(prefix.length + 1).split('/');
    return snapshotNode(namespace, snapshotter, value);
  };

const REFERENCES: readonly Reference[] = [
  named(`${PREFIX}ref.content`, contentNode),
  named(`${PREFIX}ref.image`, imageNode),
  ofSnapshot(`${PREFIX}ref.snapshot`),
];

const BACK_REFERENCES: readonly Reference[] = [
  named(`${PREFIX}bref.container`, containerNode),
  named(`${PREFIX}bref.content`, contentNode),
  named(`${PREFIX}bref.image`, imageNode),
  ofSnapshot(`${PREFIX}bref.snapshot`),
];

function matching(readers: readonly Reference[], namespace: string, labels: Labels): Node[] {
  const entries = Object.entries(labels).filter(([key]) => key.startsWith(PREFIX));
  return entries.flatMap(([key, value]) =>
    readers.map((read) => read(namespace, key, value)).filter((node) => node !== undefined),
  );
}

/** What the object needs: kept as long as it is. */
export const references = (namespace: string, labels: Labels): Node[] => matching(REFERENCES, namespace, labels);

/** What the object belongs to: it is kept as long as that is. */
export const backReferences = (namespace: string, labels: Labels): Node[] =>
  matching(BACK_REFERENCES, namespace, labels);

/** True for an object that is never collected. */
export const isRoot = (labels: Labels): boolean => Object.keys(labels).some((key) => key.startsWith(ROOT));

/** When the object expires, in nanoseconds since the Unix epoch; a value that is no time does not count. */
export function expiryOf(labels: Labels): bigint | undefined {
  const value = labelOf(labels, EXPIRE);
  return value === undefined ? undefined : parseRfc3339(value);
}

/** The object needs `snapshot` if that was used at a time for which `holds`. */
export interface Condition {
  readonly snapshot: Node;
  readonly holds: (usedAt: bigint, now: bigint) => boolean;
}

function parseCondition(text: string): Condition['holds'] | undefined {
  const [, name, operator, value = ''] = /^([^!<>=]*)(<|>)([^=].*)$/.exec(text) ?? [];
  const millis = name === 'usedat' ? parseDuration(value) : undefined;
  if (millis === undefined) return undefined;
  const limit = BigInt(Math.round(millis * 1e6));
  return operator === '<' ? (usedAt, now) => now - usedAt < limit : (usedAt, now) => now - usedAt > limit;
}

/** Conditional references: `usedat<24h|key` under `...cond.snapshot.<snapshotter>`; any of several conditions suffices. */
export function conditions(namespace: string, labels: Labels): Condition[] {
  const entries = Object.entries(labels).filter(([key]) => key.startsWith(CONDITION));
  return entries.flatMap(([label, value]) => {
    const [snapshotter = ''] = label
      .slice(CONDITION.length)
      .replace(/^[./]+/, '')
      .split('/');
    const bar = value.indexOf('|');
    if (bar < 0) return [];
    const snapshot = snapshotNode(namespace, snapshotter, value.slice(bar + 1));
    const parsed = value.slice(0, bar).split(',').map(parseCondition);
    return parsed.filter((holds) => holds !== undefined).map((holds) => ({ snapshot, holds }));
  });
}

/** When a snapshot says it was last used. */
export function usedAt(labels: Labels): bigint | undefined {
  const value = labelOf(labels, USED_AT);
  return value === undefined ? undefined : parseRfc3339(value);
}
