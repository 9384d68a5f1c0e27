/**
 * Blobs of layers that nobody needs to keep: those of unpacked images that ask for that, by themselves or by their
 * namespace. Their manifests still name them, but do not keep them. Whatever else refers to such a blob does.
 */
import type { Labels } from '../../../kernel/contracts/scope.js';
import type { Snapshotter } from '../../../kernel/contracts/snapshots.js';
import { asksToDiscard } from '../../../lib/discard-label.js';
import { labelOf } from '../../../lib/labels.js';
import type { Reader } from '../../../lib/sqlite/database.js';
import { stringMap, text } from '../../../lib/sqlite/row.js';

const CONTENT = 'containerd.io/gc.ref.content.';
const CONFIG = `${CONTENT}config`;
const LAYER = `${CONTENT}l.`;
const MANIFEST = `${CONTENT}m.`;
const SNAPSHOT = 'containerd.io/gc.ref.snapshot.';

/** Milliseconds in which a snapshotter has brought files to disk, as a rule. */
const FLUSHED_BY = 5000;

/** Both are free of NUL. */
const keyOf = (namespace: string, digest: string): string => `${namespace}\0${digest}`;

const withPrefix = (labels: Labels, prefix: string): readonly (readonly [rest: string, value: string])[] =>
  Object.entries(labels).flatMap(([key, value]) =>
    key.startsWith(prefix) ? [[key.slice(prefix.length), value] as const] : [],
  );

/** As asked for when a collection begins. */
export class Discards {
  readonly #sql: Reader;
  readonly #snapshotters: ReadonlyMap<string, Snapshotter>;
  readonly #namespaces: ReadonlySet<string>;
  /** What labelled images point to, with what that leads to. */
  readonly #targets = new Set<string>();
  #isWaiting = false;

  constructor(sql: Reader, snapshotters: ReadonlyMap<string, Snapshotter>) {
    this.#sql = sql;
    this.#snapshotters = snapshotters;
    const asking = sql.all('SELECT * FROM namespaces').filter((row) => asksToDiscard(stringMap(row, 'labels')));
    this.#namespaces = new Set(asking.map((row) => text(row, 'name')));
  }

  /** An image asks for itself: an index does for its manifests. */
  ask(namespace: string, digest: string): void {
    const found = [digest];
    for (let next = found.pop(); next !== undefined; next = found.pop()) {
      const key = keyOf(namespace, next);
      if (this.#targets.has(key)) continue;
      this.#targets.add(key);
      found.push(...withPrefix(this.#labels(namespace, next), MANIFEST).map(([, manifest]) => manifest));
    }
  }

  /** Milliseconds until more may be let go of; infinite when that is all. */
  get nextLook(): number {
    return this.#isWaiting ? FLUSHED_BY : Number.POSITIVE_INFINITY;
  }

  /** The labels of content without those that refer to layers which need not be kept. */
  kept(namespace: string, digest: string, labels: Labels): Labels {
    if (!this.#namespaces.has(namespace) && !this.#targets.has(keyOf(namespace, digest))) return labels;
    const config = labelOf(labels, CONFIG);
    if (config === undefined || !this.#isUnpacked(namespace, config)) return labels;
    return Object.fromEntries(Object.entries(labels).filter(([key]) => !key.startsWith(LAYER)));
  }

  /** Unpackers leave the top snapshot with the configuration, the last thing they do. */
  #isUnpacked(namespace: string, config: string): boolean {
    return withPrefix(this.#labels(namespace, config), SNAPSHOT).some(([rest, top]) => {
      const [snapshotter = ''] = rest.split('/');
      return this.#isOnDisk(namespace, snapshotter, top);
    });
  }

  /** Files that a power cut could take must still be made again from their layers. */
  #isOnDisk(namespace: string, snapshotter: string, top: string): boolean {
    const backend = this.#snapshotters.get(snapshotter);
    if (!backend) return false;
    const unflushed = new Set(backend.unflushed?.());
    const sql = 'SELECT parent, backend_key FROM snapshots WHERE ns = ? AND snapshotter = ? AND key = ?';
    for (let key = top; key !== ''; ) {
      const row = this.#sql.get(sql, namespace, snapshotter, key);
      if (!row) return false;
      const backendKey = text(row, 'backend_key');
      if (unflushed.has(backendKey)) {
        // What an earlier boot left in doubt may stay so for ever.
        this.#isWaiting ||= !backend.unsynced?.().includes(backendKey);
        return false;
      }
      key = text(row, 'parent');
    }
    return true;
  }

  #labels(namespace: string, digest: string): Labels {
    const row = this.#sql.get('SELECT labels FROM content WHERE ns = ? AND digest = ?', namespace, digest);
    return row ? stringMap(row, 'labels') : {};
  }
}
