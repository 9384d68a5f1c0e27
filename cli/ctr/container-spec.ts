import { z } from 'zod';
import type { Container } from '../../client/index.js';
import { failedPrecondition } from '../../kernel/errors.js';

/** What `exec` takes over from the container's own process. */
const processSchema = z.looseObject({
  process: z.looseObject({
    args: z.array(z.string()).nullish(),
    env: z.array(z.string()).nullish(),
    cwd: z.string(),
    user: z.looseObject({}).nullish(),
  }),
});

export type SpecProcess = z.output<typeof processSchema>['process'];

/** The process of a container's runtime spec, as any client may have written it. FAILED_PRECONDITION when it has none. */
export function specProcess(container: Container): SpecProcess {
  const text = Buffer.from(container.spec?.value ?? new Uint8Array()).toString('utf8');
  try {
    return processSchema.parse(JSON.parse(text)).process;
  } catch (cause) {
    throw failedPrecondition(`container "${container.id}" has no usable runtime spec`, { cause });
  }
}
