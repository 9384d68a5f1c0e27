/**
 * Which programs a layer goes through, by its media type, before a differ gets it: containerd's table
 * `[stream_processors]` (docs/stream_processors.md).
 */
import { z } from 'zod';

/** Made for a table that has entries: most have none. */
const processor = () =>
  z
    .object({
      accepts: z.array(z.string().min(1)).describe('media types that it takes'),
      returns: z.string().min(1).describe('media type of what comes out'),
      path: z
        .string()
        .regex(/^(\/.*|[^/]+)$/, 'an absolute path is expected, or a name to be found in PATH')
        .describe('the program: an absolute path, or a name that is in a directory of PATH'),
      args: z.array(z.string()).default([]).describe('its arguments'),
      env: z
        .array(z.string().regex(/^[^=]+=/, 'NAME=value is expected'))
        .default([])
        .describe("NAME=value, beside the daemon's own environment"),
    })
    .strict();

/** By id, under which a caller of Apply gives a processor its payload. */
export type StreamProcessorTable = Readonly<Record<string, z.output<ReturnType<typeof processor>>>>;

export interface StreamProcessor extends z.output<ReturnType<typeof processor>> {
  readonly id: string;
}

/** A program with the media type of what it is given. */
export interface ProcessorStep {
  readonly processor: StreamProcessor;
  readonly mediaType: string;
}

export interface ProcessorChain {
  /** First to last; none for a media type that no program takes. */
  readonly steps: readonly ProcessorStep[];
  /** Of what the differ gets. */
  readonly mediaType: string;
  /** The processor that would be next and was there before. */
  readonly repeats?: string;
}

export function processorChain(table: StreamProcessorTable, mediaType: string): ProcessorChain {
  const steps: ProcessorStep[] = [];
  for (let type = mediaType; ; ) {
    const [id, processor] = Object.entries(table).find(([, { accepts }]) => accepts.includes(type)) ?? [];
    if (id === undefined || processor === undefined) return { steps, mediaType: type };
    if (steps.some((step) => step.processor.id === id)) return { steps, mediaType: type, repeats: id };
    steps.push({ processor: { id, ...processor }, mediaType: type });
    type = processor.returns;
  }
}

/** What is wrong with the table as a whole: what it does with a layer must be one thing, and come to an end. */
function contradictions(table: StreamProcessorTable): readonly { readonly id: string; readonly message: string }[] {
  const owners = new Map<string, string>();
  return Object.entries(table).flatMap(([id, { accepts }]) =>
    [...new Set(accepts)].flatMap((mediaType) => {
      const owner = owners.get(mediaType);
      if (owner !== undefined) return [{ id, message: `"${mediaType}" is accepted by "${owner}" too` }];
      owners.set(mediaType, id);
      const { repeats } = processorChain(table, mediaType);
      return repeats === undefined
        ? []
        : [{ id, message: `what becomes of "${mediaType}" comes to "${repeats}" again` }];
    }),
  );
}

export const processorTable = z
  .record(z.string(), z.lazy(processor))
  .superRefine((table, context) => {
    for (const { id, message } of contradictions(table))
      context.addIssue({ code: 'custom', path: [id, 'accepts'], message });
  })
  .default({});
