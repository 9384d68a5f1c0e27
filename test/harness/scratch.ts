import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A temporary directory that is gone when the block ends. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

async function mountsBelow(path: string): Promise<string[]> {
  const table = (await readFile('/proc/self/mountinfo')).toString();
  const targets = table.split('\n').map((line) => line.split(' ')[4] ?? '');
  return targets.filter((target) => target === path || target.startsWith(`${path}/`));
}

/**
 * Makes a temporary directory under `KEELSON_TEST_DIR` (default: the system's).
 * Disposal removes it, and throws when something is still mounted inside: a
 * test that leaks a mount fails there instead of removing what is mounted.
 */
export async function scratch(name = 'test'): Promise<Scratch> {
  const path = await mkdtemp(join(process.env.KEELSON_TEST_DIR ?? tmpdir(), `keelson-${name}-`));
  return {
    path,
    async [Symbol.asyncDispose]() {
      const left = await mountsBelow(path);
      if (left.length > 0) throw new Error(`still mounted below "${path}": ${left.join(', ')}`);
      await rm(path, { recursive: true, force: true });
    },
  };
}
