/**
 * What every differ keeps: the promises of kernel/contracts/diff.ts.
 *
 *     differConformance({ describe, it }, subject)
 *
 * It makes devices and files of many owners, so it takes root.
 */
import { applyChecks } from './differ.apply.js';
import { compareChecks } from './differ.compare.js';
import { hostileChecks } from './differ.hostile.js';
import { DifferBench, type DifferSubject } from './differ.workbench.js';
import { checkOf, type Runner } from './runner.js';

export type { DifferSubject, OpenDiffer } from './differ.workbench.js';

export type Check = (bench: DifferBench, subject: DifferSubject) => Promise<void>;
export type Checks = Readonly<Record<string, Check>>;

const GROUPS: Readonly<Record<string, Checks>> = {
  apply: applyChecks,
  compare: compareChecks,
  'hostile layers and historic bugs': hostileChecks,
};

export function differConformance(runner: Runner, subject: DifferSubject): void {
  runner.describe(`differ ${subject.name}`, () => {
    for (const [group, checks] of Object.entries(GROUPS)) {
      runner.describe(group, () => {
        for (const [title, check] of Object.entries(checks)) {
          checkOf(runner, subject, title, async () => {
            await using bench = await DifferBench.open(subject);
            await check(bench, subject);
          });
        }
      });
    }
  });
}
