/** What leases hold. */
import type { Scope } from '../../kernel/contracts/scope.js';
import { notFound } from '../../kernel/errors.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import type { Core } from './core.js';
import type { Node } from './node.js';

/** The type of a resource as leases name it: `content`, `ingests`, `images`, `snapshots/<snapshotter>`. */
export const snapshotType = (snapshotter: string): string => `snapshots/${snapshotter}`;

/** NOT_FOUND. */
export function requireLease(sql: Reader, namespace: string, lease: string): void {
  if (sql.get('SELECT 1 FROM leases WHERE ns = ? AND id = ?', namespace, lease)) return;
  throw notFound(`lease "${lease}" does not exist`);
}

export function holdInLease(sql: Writer, namespace: string, lease: string, type: string, id: string): void {
  requireLease(sql, namespace, lease);
  sql.run('INSERT OR IGNORE INTO lease_resources VALUES (?, ?, ?, ?)', namespace, lease, type, id);
}

/** Adds a thing to the lease of the call, if it has one; true when it has. NOT_FOUND when there is no such lease. */
export function leaseIt(core: Core, sql: Writer, scope: Scope, type: string, id: string, node: Node): boolean {
  if (scope.lease === undefined) return false;
  holdInLease(sql, scope.namespace, scope.lease, type, id);
  core.touch(node);
  return true;
}

/** Takes a thing that is removed out of the lease of the call. */
export function unleaseIt(sql: Writer, { namespace, lease }: Scope, type: string, id: string): void {
  if (lease === undefined) return;
  const where = 'ns = ? AND lease = ? AND type = ? AND id = ?';
  sql.run(`DELETE FROM lease_resources WHERE ${where}`, namespace, lease, type, id);
}
