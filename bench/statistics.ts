/** Repeated measurements and how they are shown. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export interface Comparison {
  readonly what: string;
  /** For example `s`, `ms`, `MB`. */
  readonly unit: string;
  readonly ours: readonly number[];
  readonly peer: readonly number[];
}

const format = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2));

const cell = (values: readonly number[], unit: string): string => {
  if (values.length === 1) return `${format(median(values))} ${unit}`;
  return `${format(median(values))} ${unit} (${format(Math.min(...values))}–${format(Math.max(...values))})`;
};

/** A Markdown table: median, smallest and largest of each side, and the ratio of the medians. */
export function table(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ what, unit, ours, peer }) => {
    const ratio = median(ours) / median(peer);
    return `| ${what} | ${cell(ours, unit)} | ${cell(peer, unit)} | **${ratio.toFixed(2)}** |`;
  });
  return ['| what | keelson | containerd | ratio |', '|---|---|---|---|', ...rows].join('\n');
}

/** Milliseconds that `work` takes. */
export async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
