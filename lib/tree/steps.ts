/** The jobs on directory trees, told as data so that any thread can do them. */
import { copying } from './copy.js';
import { removing } from './remove.js';
import { measuring, measuringChanges, type TreeUsage } from './usage.js';

export type TreeJob =
  | { readonly kind: 'measure'; readonly root: string }
  | { readonly kind: 'measure changes of'; readonly root: string; readonly base: string }
  | { readonly kind: 'remove'; readonly root: string }
  | { readonly kind: 'copy'; readonly from: string; readonly to: string };

/** Work cut into small steps; the end of measuring has a value. */
export type Steps = Generator<void, TreeUsage | undefined, void>;

function* withoutResult(steps: Generator<void, void, void>): Steps {
  yield* steps;
  return undefined;
}

export function stepsOf(job: TreeJob): Steps {
  switch (job.kind) {
    case 'measure':
      return measuring(job.root);
    case 'measure changes of':
      return measuringChanges(job.root, job.base);
    case 'remove':
      return withoutResult(removing(job.root));
    case 'copy':
      return withoutResult(copying(job.from, job.to));
  }
}
