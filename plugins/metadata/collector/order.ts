/** Snapshots in the order in which they can go. */
import type { Slices } from './slices.js';

/** Numbered in the order of creation, so that a child's number is higher than its parent's. */
export interface Aged {
  readonly sequence: bigint;
}

/** Newer first. */
export const byAge = (a: Aged, b: Aged): number => Number(b.sequence - a.sequence);

/** Numbers that are sorted in one go. */
const SPAN = 512n;

/** Sorts {@link byAge}, however many there are, in slices. */
export async function newestFirst<T extends Aged>(items: readonly T[], slices: Slices): Promise<readonly T[]> {
  const spans = new Map<number, T[]>();
  for (const item of items) {
    const span = Number(item.sequence / SPAN);
    const members = spans.get(span);
    if (members) members.push(item);
    else spans.set(span, [item]);
    if (slices.over) await slices.rest();
  }
  const sorted: T[] = [];
  for (const [, members] of [...spans].sort(([a], [b]) => b - a)) {
    for (const item of members.sort(byAge)) sorted.push(item);
    if (slices.over) await slices.rest();
  }
  return sorted;
}
