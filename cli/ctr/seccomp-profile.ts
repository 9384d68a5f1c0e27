/** A filter of system calls from a file, as `--seccomp-profile` names it. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { invalidArgument, messageOf } from '../../kernel/errors.js';
import { type Change, withSeccompProfile } from '../../lib/oci/runtime-spec.js';

/** What we know of a profile; the rest goes to the OCI runtime as it is (runtime-spec, config-linux.md#seccomp). */
const profileSchema = z.looseObject({
  defaultAction: z.string(),
  architectures: z.array(z.string()).optional(),
  syscalls: z
    .array(
      z.looseObject({
        names: z.array(z.string()),
        action: z.string(),
        errnoRet: z.number().optional(),
        args: z.array(z.looseObject({ index: z.number(), value: z.number(), op: z.string() })).optional(),
      }),
    )
    .default([]),
});

/** INVALID_ARGUMENT for a file that is no profile. */
export async function seccompProfile(path: string): Promise<Change> {
  try {
    return withSeccompProfile(profileSchema.parse(JSON.parse(await readFile(path, 'utf8'))));
  } catch (cause) {
    throw invalidArgument(`seccomp profile "${path}" cannot be used: ${messageOf(cause)}`, { cause });
  }
}
