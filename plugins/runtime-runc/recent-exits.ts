import type { TaskExit } from '../../api/gen/events/task.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';

/** Exits remembered: more than can be unconfirmed when a supervisor dies. */
const CAPACITY = 16_384;

/** Which exits were told of late: each is told once, though supervisors may tell it to us again. */
export class RecentExits {
  readonly #keys = new Set<string>();

  /** False when it was there already. */
  add(namespace: string, { containerId, id, pid, exitedAt }: TaskExit): boolean {
    const key = [namespace, containerId, id, pid, fromTimestamp(exitedAt)].join('/');
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    const [oldest] = this.#keys;
    if (this.#keys.size > CAPACITY && oldest !== undefined) this.#keys.delete(oldest);
    return true;
  }
}
