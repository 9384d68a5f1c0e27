/** From a runtime's name, as containers carry it, to the backend that serves it. */
import type { Runtime } from '../../kernel/contracts/runtime.js';
import { notFound } from '../../kernel/errors.js';

const PATTERN_END = '*';

const matches = (pattern: string, name: string): boolean =>
  pattern.endsWith(PATTERN_END) && name.startsWith(pattern.slice(0, -PATTERN_END.length));

/** Exact names first, patterns after. NOT_FOUND, with the names there are, when nobody serves it. */
export function runtimeFor(runtimes: ReadonlyMap<string, Runtime>, name: string): Runtime {
  const all = [...runtimes.values()];
  const found =
    all.find(({ names }) => names.includes(name)) ?? all.find(({ names }) => names.some((own) => matches(own, name)));
  if (found !== undefined) return found;
  const known = all.flatMap(({ names }) => names);
  throw notFound(`runtime "${name}" is unknown`, {
    remedy: known.length > 0 ? `known are ${known.join(', ')}` : 'enable a plugin that provides a runtime',
  });
}
