/**
 * What every runtime keeps: the promises of kernel/contracts/runtime.ts.
 *
 *     runtimeConformance({ describe, it }, subject)
 *
 * Containers of static busybox are run for real, so it takes root and
 * /usr/bin/busybox.
 */
import { checkOf, type Runner } from './runner.js';
import { controlChecks } from './runtime.control.js';
import { execChecks } from './runtime.exec.js';
import { issueChecks } from './runtime.issues.js';
import { lifecycleChecks } from './runtime.lifecycle.js';
import { restartChecks } from './runtime.restart.js';
import { streamChecks } from './runtime.streams.js';
import { type RuntimeSubject, Workbench } from './runtime.workbench.js';

export type { OpenRuntime, RuntimeSubject } from './runtime.workbench.js';

/** A check gets a runtime that has no tasks, and leaves it so. */
export type Check = (bench: Workbench, can: RuntimeSubject['can']) => Promise<void>;

export type Checks = Readonly<Record<string, Check>>;

const GROUPS = {
  lifecycle: lifecycleChecks,
  streams: streamChecks,
  exec: execChecks,
  control: controlChecks,
  restart: restartChecks,
  'historic bugs': issueChecks,
} satisfies Readonly<Record<string, Checks>>;

export type RuntimeGroup = keyof typeof GROUPS;

const ALL: readonly RuntimeGroup[] = ['lifecycle', 'streams', 'exec', 'control', 'restart', 'historic bugs'];

/** `groups`: for a subject that differs from another only in part, those checks in which it may. */
export function runtimeConformance(
  runner: Runner,
  subject: RuntimeSubject,
  groups: readonly RuntimeGroup[] = ALL,
): void {
  runner.describe(`runtime ${subject.name}`, () => {
    for (const group of groups) {
      runner.describe(group, () => {
        for (const [title, check] of Object.entries<Check>(GROUPS[group])) {
          checkOf(runner, subject, title, async () => {
            await using bench = await Workbench.open(subject);
            await check(bench, subject.can);
          });
        }
      });
    }
  });
}
