/** Where a program is that is named without its directory. */
import { access, constants } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';

/**
 * The first executable file of that name in the directories of a PATH; undefined when there is none. Absolute directories
 * only: what lies in the working directory is nobody's program.
 */
export async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const directory of path.split(':').filter(isAbsolute)) {
    const program = join(directory, name);
    try {
      await access(program, constants.X_OK);
      return program;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return undefined;
}
