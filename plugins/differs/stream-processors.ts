/** Puts the programs that a layer's media type asks for in front of the differ. */
import { isAbsolute } from 'node:path';
import { Any } from '../../api/gen/google/protobuf/any.js';
import type { ApplyLayer, LayerSink } from '../../kernel/contracts/diff.js';
import { failedPrecondition, messageOf } from '../../kernel/errors.js';
import { findProgram } from '../../lib/search-path.js';
import {
  type ProcessorStep,
  processorChain,
  type StreamProcessor,
  type StreamProcessorTable,
} from './processor-table.js';

type OpenLayer = (layer: ApplyLayer) => Promise<LayerSink>;

/** Tells a processor what it is given, as containerd does. */
const MEDIA_TYPE = 'STREAM_PROCESSOR_MEDIATYPE';

export class StreamProcessors {
  readonly #table: StreamProcessorTable;
  readonly #patience: number;

  /** `patience`: milliseconds that a program may be waited for. */
  constructor(table: StreamProcessorTable, patience: number) {
    this.#table = table;
    this.#patience = patience;
  }

  /** Whether layers of that media type go through a program. */
  takes(mediaType: string): boolean {
    return processorChain(this.#table, mediaType).steps.length > 0;
  }

  /** Opens `layer` by `open`, which gets it as it comes out of the last program; a layer that needs none goes there as it is. */
  async open(layer: ApplyLayer, open: OpenLayer): Promise<LayerSink> {
    const { steps, mediaType } = processorChain(this.#table, layer.mediaType);
    if (steps.length === 0) return open(layer);
    const programs = await Promise.all(steps.map(async (step) => ({ ...step, path: await locate(step.processor) })));
    const { digest, ...rest } = layer;
    let sink = await open({ ...rest, mediaType });
    try {
      // The last program is the first to have somewhere to send to; only the first sees the bytes of the digest.
      for (const [index, program] of [...programs.entries()].reverse())
        sink = await this.#start(program, index === 0 ? layer : rest, sink);
    } catch (error) {
      await sink.abort();
      throw error;
    }
    return sink;
  }

  async #start(
    { processor, mediaType, path }: ProcessorStep & { readonly path: string },
    { payloads, digest, signal }: ApplyLayer,
    next: LayerSink,
  ): Promise<LayerSink> {
    const { id, args } = processor;
    const payload = payloads?.[id];
    const env = { ...environment(process.env), ...assignments(processor.env), [MEDIA_TYPE]: mediaType };
    // Most daemons have no processors, and start faster without.
    const { FilterProgram } = await import('./filter-program.js');
    const { ProcessorSink } = await import('./processor-sink.js');
    try {
      const encoded = payload === undefined ? {} : { payload: Any.encode(Any.fromPartial(payload)).finish() };
      const program = new FilterProgram({ path, args, env, ...encoded });
      return new ProcessorSink({
        id,
        program,
        next,
        patience: this.#patience,
        ...(digest === undefined ? {} : { digest }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw failedPrecondition(`stream processor "${id}": "${path}" cannot be run: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

async function locate({ id, path }: StreamProcessor): Promise<string> {
  const found = isAbsolute(path) ? path : await findProgram(path, process.env.PATH ?? '');
  if (found !== undefined) return found;
  throw failedPrecondition(`stream processor "${id}": program "${path}" is in no directory of PATH`, {
    remedy: 'install it, or correct its path in stream_processors',
  });
}

const environment = (variables: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined));

const assignments = (list: readonly string[]): Record<string, string> =>
  Object.fromEntries(list.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]));
