/** What pulls are measured against besides the peer: decompressing and unpacking alone, by programs that check nothing. */
import { spawn } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** `igzip -dc | tar x` of one layer. */
export async function pipeline(blob: string, target: string): Promise<void> {
  const script = 'exec igzip -dc "$0" | tar -x --numeric-owner -f - -C "$1"';
  const child = spawn('sh', ['-c', script, blob, target], { stdio: 'inherit' });
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`unpacking "${blob}" ended with ${code}`);
}

/** All layers side by side, each into a directory of its own below `root`, which are removed again. */
export async function sideBySide(
  blobs: readonly string[],
  root: string,
  timed: (work: () => Promise<unknown>) => Promise<number>,
): Promise<number> {
  const targets = blobs.map((_, index) => join(root, `floor-${index}`));
  for (const target of targets) await mkdir(target);
  const taken = await timed(() => Promise.all(blobs.map((blob, index) => pipeline(blob, targets[index] ?? ''))));
  for (const target of targets) await rm(target, { recursive: true });
  return taken;
}
