/** Removing what a container left, when it is not deleted in the regular way. */
import { join, normalize } from 'node:path';
import { ControlGroup } from '../../../lib/cgroups/group.js';
import { isErrno } from '../../../lib/errno.js';
import { unmountAll } from '../../../lib/linux/mount.js';
import { sendSignal } from '../../../lib/linux/process.js';
import { log, logError } from './log.js';
import type { OciRuntime } from './oci-runtime.js';
import { readSpec } from './spec.js';

const SIGKILL = 9;

export interface Leftover {
  readonly id: string;
  readonly bundle: string;
  readonly runtime: OciRuntime;
}

/** Unmounts a bundle's root filesystem; one in use is detached, and goes when its last user does. */
const unmountRootfs = (bundle: string): Promise<void> =>
  unmountAll(join(bundle, 'rootfs'), ({ target }, error) =>
    log('warn', 'root filesystem in use, detached', { target, err: error.message }),
  );

function kill(pid: number): void {
  try {
    sendSignal(pid, SIGKILL);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/**
 * The group that an OCI runtime makes for a container: cgroupfs paths as they
 * are; systemd's `slice:prefix:name` are cleaned up by systemd itself.
 */
function groupOf({ id, bundle }: Leftover): ControlGroup | undefined {
  const { cgroupsPath } = readSpec(bundle);
  if (cgroupsPath.includes(':') || normalize(join('/', cgroupsPath)) === '/') return undefined;
  if (cgroupsPath === '') return ControlGroup.of(process.pid)?.below(id);
  return ControlGroup.everywhere(join('/', cgroupsPath));
}

/**
 * Kills what runs of the container, known to the OCI runtime or not, and
 * removes its control group and its mounts. The bundle's files stay.
 */
export async function discardContainer(leftover: Leftover): Promise<void> {
  const { id, bundle, runtime } = leftover;
  await runtime.delete(id, true).catch((error: unknown) => logError('runtime delete --force', error, { id }));
  const group = groupOf(leftover);
  for (const pid of group?.processes() ?? []) kill(pid);
  group?.remove();
  await unmountRootfs(bundle);
  // Besides, its init process is pinned there.
  await unmountAll(bundle);
}

/**
 * Removes a container whose processes have all ended, and its mounts. What runc
 * keeps of it is a directory and control groups; removing them here, while the
 * root filesystem is unmounted, spares a run of it, a tenth of what a short
 * container takes. Everything else is left to the runtime.
 */
export async function removeStopped(leftover: Leftover): Promise<void> {
  const { id, bundle, runtime } = leftover;
  const group = runtime.keepsOnlyFiles && !readSpec(bundle).endsByRuntime ? groupOf(leftover) : undefined;
  if (group === undefined || group.processes().length > 0) {
    await runtime.delete(id);
    return unmountRootfs(bundle);
  }
  const removed = async (): Promise<void> => {
    group.remove();
    runtime.forget(id);
  };
  await Promise.all([unmountRootfs(bundle), removed()]);
}
