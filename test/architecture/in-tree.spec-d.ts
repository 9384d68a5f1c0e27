/** The plugins of the tree need nothing from outside it. The compiler is the test runner. */
import type { builtins } from '../../config/builtins.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { Missing } from '../../kernel/plan.js';
import type { plugin } from '../../plugins/events/index.js';

type InTree = Awaited<ReturnType<(typeof builtins)[keyof typeof builtins]>>['plugin'];

type Holes = Missing<readonly InTree[]>;

export const whole: [Holes] extends [never] ? true : { nobodyProvides: Holes } = true;

type WithoutEvents = Missing<readonly Exclude<InTree, typeof plugin>[]>;
/** The check can fail: it names the service whose provider is taken away. */
export const missed: typeof Events extends WithoutEvents ? true : false = true;
