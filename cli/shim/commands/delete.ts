import { rm } from 'node:fs/promises';
import type { Command } from 'commander';
import { bundlePath } from '../../../client/shim.js';
import { mountsWithin } from '../../../lib/linux/mount.js';
import { onShim, type ShimOptions } from '../connection.js';

/** What the supervisor leaves of a deleted task; the daemon would remove it at its next start. */
async function removeBundle({ state, namespace }: ShimOptions, id: string): Promise<void> {
  const bundle = bundlePath(state, namespace, id);
  if (mountsWithin(bundle).length === 0) await rm(bundle, { recursive: true, force: true });
}

export const addDelete = (program: Command): void => {
  program
    .command('delete')
    .description('delete a process that has stopped; prints its exit status')
    .option('--exec-id <id>', 'that process only')
    .argument('<id>', 'the task')
    .action((id: string, { execId = '' }: { execId?: string }, command: Command) =>
      onShim(command, id, async ({ tasks, call }) => {
        const { exitStatus } = await tasks.delete({ id, execId }, call);
        if (execId === '') await removeBundle(command.optsWithGlobals<ShimOptions>(), id);
        process.stdout.write(`${exitStatus}\n`);
      }),
    );
};
