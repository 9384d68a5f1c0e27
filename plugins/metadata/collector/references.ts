import type { Reader } from '../../../lib/sqlite/database.js';
import { stringMap, text } from '../../../lib/sqlite/row.js';
import { references } from '../gc-labels.js';
import { contentNode, type Node, snapshotNode, splitSnapshot } from '../node.js';
import type { Discards } from './discards.js';
import { GC_LABELS } from './tables.js';

type References = (sql: Reader, node: Node, discards?: Discards) => readonly Node[];

const ofContent: References = (sql, { namespace, key, flat }, discards) => {
  if (flat) return [];
  const row = sql.get(`SELECT ${GC_LABELS} FROM content WHERE ns = ? AND digest = ?`, namespace, key);
  if (!row) return [];
  const labels = stringMap(row, 'labels');
  return references(namespace, discards?.kept(namespace, key, labels) ?? labels);
};

const ofImage: References = (sql, { namespace, key, flat }) => {
  const row = sql.get(`SELECT digest, ${GC_LABELS} FROM images WHERE ns = ? AND name = ?`, namespace, key);
  if (!row) return [];
  const target = contentNode(namespace, text(row, 'digest'), flat);
  return flat ? [target] : [target, ...references(namespace, stringMap(row, 'labels'))];
};

const ofSnapshot: References = (sql, node) => {
  const { namespace, flat } = node;
  const [snapshotter, key] = splitSnapshot(node) ?? [];
  if (snapshotter === undefined || key === undefined) return [];
  const where = 'ns = ? AND snapshotter = ? AND key = ?';
  const row = sql.get(`SELECT parent, ${GC_LABELS} FROM snapshots WHERE ${where}`, namespace, snapshotter, key);
  if (!row) return [];
  const parent = text(row, 'parent');
  const parents = parent === '' ? [] : [snapshotNode(namespace, snapshotter, parent, flat)];
  return flat ? parents : [...parents, ...references(namespace, stringMap(row, 'labels'))];
};

const ofIngest: References = (sql, { namespace, key }) => {
  const row = sql.get('SELECT expected FROM ingests WHERE ns = ? AND ref = ?', namespace, key);
  const expected = row ? text(row, 'expected') : '';
  return expected === '' ? [] : [contentNode(namespace, expected)];
};

const ofContainer: References = (sql, { namespace, key }) => {
  const columns = `snapshotter, snapshot_key, ${GC_LABELS}`;
  const row = sql.get(`SELECT ${columns} FROM containers WHERE ns = ? AND id = ?`, namespace, key);
  if (!row) return [];
  const snapshotter = text(row, 'snapshotter');
  const rootfs = snapshotter === '' ? [] : [snapshotNode(namespace, snapshotter, text(row, 'snapshot_key'))];
  return [...rootfs, ...references(namespace, stringMap(row, 'labels'))];
};

const ofSandbox: References = (sql, { namespace, key }) => {
  const row = sql.get(`SELECT ${GC_LABELS} FROM sandboxes WHERE ns = ? AND id = ?`, namespace, key);
  return row ? references(namespace, stringMap(row, 'labels')) : [];
};

/** Leases refer to nothing here: what they hold are roots. */
const BY_TYPE: Readonly<Record<Node['type'], References>> = {
  content: ofContent,
  image: ofImage,
  snapshot: ofSnapshot,
  ingest: ofIngest,
  container: ofContainer,
  sandbox: ofSandbox,
  lease: () => [],
};

/** What a node keeps alive; without `discards`, what it names. A node of which there is no record, made up by a label, keeps nothing. */
export const referencesOf: References = (sql, node, discards) => BY_TYPE[node.type](sql, node, discards);
