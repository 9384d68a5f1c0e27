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
import { lifecycleChecks } from './runtime.lifecycle.js';
import { restartChecks } from './runtime.restart.js';
import { streamChecks } from './runtime.streams.js';
import { type RuntimeSubject, Workbench } from './runtime.workbench.js';

export type { OpenRuntime, RuntimeSubject } from './runtime.workbench.js';

/** A check gets a runtime that has no tasks, and leaves it so. */
export type Check = (bench: Workbench, can: RuntimeSubject['can']) => Promise<void>;

export type Checks = Readonly<Record<string, Check>>;

const GROUPS: Readonly<Record<string, Checks>> = {
  lifecycle: lifecycleChecks,
  streams: streamChecks,
  exec: execChecks,
  control: controlChecks,
  restart: restartChecks,
};

export function runtimeConformance(runner: Runner, subject: RuntimeSubject): void {
  runner.describe(`runtime ${subject.name}`, () => {
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
