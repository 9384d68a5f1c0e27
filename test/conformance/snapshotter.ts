/**
 * What every snapshotter keeps: the promises of kernel/contracts/snapshots.ts.
 *
 *     snapshotterConformance({ describe, it }, subject)
 *
 * Snapshots are mounted, so it takes root.
 */
import { checkOf, type Runner } from './runner.js';
import { contentChecks } from './snapshotter.content.js';
import { issueChecks } from './snapshotter.issues.js';
import { labelChecks } from './snapshotter.labels.js';
import { lifecycleChecks } from './snapshotter.lifecycle.js';
import { raceChecks } from './snapshotter.races.js';
import { type SnapshotterSubject, Workbench } from './snapshotter.workbench.js';

export type { OpenSnapshotter, SnapshotterSubject } from './snapshotter.workbench.js';

/** A check gets a snapshotter that holds nothing yet. */
export type Check = (bench: Workbench, can: SnapshotterSubject['can']) => Promise<void>;

export type Checks = Readonly<Record<string, Check>>;

const GROUPS: Readonly<Record<string, Checks>> = {
  lifecycle: lifecycleChecks,
  labels: labelChecks,
  content: contentChecks,
  races: raceChecks,
  'historic bugs': issueChecks,
};

export function snapshotterConformance(runner: Runner, subject: SnapshotterSubject): void {
  runner.describe(`snapshotter ${subject.name}`, () => {
    for (const [group, checks] of Object.entries(GROUPS)) {
      runner.describe(group, () => {
        for (const [title, check] of Object.entries(checks)) {
          checkOf(runner, subject, title, async () => {
            await using bench = await Workbench.open(subject);
            await check(bench, subject.can);
          });
        }
      });
    }
  });
}
