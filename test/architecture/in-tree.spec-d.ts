/** The plugins of the tree need nothing from outside it. The compiler is the test runner. */
import type { builtins } from '../../config/builtins.js';
import type { Containers } from '../../kernel/contracts/containers.js';
import type { Content } from '../../kernel/contracts/content.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { Images } from '../../kernel/contracts/images.js';
import type { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import type { Missing } from '../../kernel/plan.js';
import type { plugin } from '../../plugins/events/index.js';

type InTree = Awaited<ReturnType<(typeof builtins)[keyof typeof builtins]>>['plugin'];

/** Services whose provider is still being written. */
type Pending =
  | typeof Containers
  | typeof Content
  | typeof GarbageCollector
  | typeof Images
  | typeof Leases
  | typeof Namespaces
  | typeof Snapshots;

type Holes = Exclude<Missing<readonly InTree[]>, Pending>;

export const whole: [Holes] extends [never] ? true : { nobodyProvides: Holes } = true;

type WithoutEvents = Missing<readonly Exclude<InTree, typeof plugin>[]>;
/** The check can fail: it names the service whose provider is taken away. */
export const missed: typeof Events extends WithoutEvents ? true : false = true;
