/** `containerd.runc.v1.Options`, the options that clients give with containers and tasks. */
import { Options } from '../../api/gen/runtime/runc-options.js';
import { Options as RuntimeOptions } from '../../api/gen/runtime/runtime-options.js';
import { type AnyMessage, isAny, unpackAny } from '../../lib/rpc/any.js';

/**
 * The options; defaults when there are none. `runtimeoptions.v1.Options`, which
 * name a configuration file that no runtime here reads, count as none.
 * INVALID_ARGUMENT for any other message.
 */
export function parseOptions(any: AnyMessage | undefined): Options {
  if (any === undefined || any.typeUrl === '' || isAny(RuntimeOptions, any)) return Options.create();
  return unpackAny(Options, any);
}
