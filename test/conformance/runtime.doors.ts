/** A further way to a runtime, on which its kit is run too: through a kernel. */
import { Events } from '../../kernel/contracts/events.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { notFound } from '../../kernel/errors.js';
import { providing, startTestKernel } from '../harness/kernel.js';
import type { OpenRuntime } from './runtime.workbench.js';

/** A plugin of the tree, the wire id of the runtime it provides, and what else the kernel is to have. */
export interface RuntimeProvider {
  readonly plugin: string;
  readonly wireId: string;
  readonly beside?: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
}

/** Opens the runtime of a kernel whose state is below the directory, and whose events are those given. */
export async function throughKernel(
  { plugin, wireId, beside = [], config }: RuntimeProvider,
  directory: string,
  events: Events,
): Promise<OpenRuntime> {
  const kernel = await startTestKernel({
    plugins: [providing(Events, events), ...beside, plugin],
    config,
    directory,
  });
  const runtime = kernel.get(Runtimes).get(wireId);
  if (runtime === undefined) throw notFound(`plugin "${plugin}" provides no runtime "${wireId}"`);
  return { runtime, close: () => kernel.stop() };
}
