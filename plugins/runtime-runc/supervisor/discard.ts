/** Removing what a container left, when it is not deleted in the regular way. */
import { join, normalize } from 'node:path';
import { ControlGroup } from '../../../lib/cgroups/group.js';
import { isErrno } from '../../../lib/errno.js';
import { type OnBusy, unmountAll, unmountWithin } from '../../../lib/linux/mount.js';
import { sendSignal } from '../../../lib/linux/process.js';
import { log, logError } from './log.js';
import type { OciRuntime } from './oci-runtime.js';
import { readSpec, type SpecFacts } from './spec.js';

const SIGKILL = 9;

export interface Leftover {
  readonly id: string;
  readonly bundle: string;
  readonly runtime: OciRuntime;
}

/** What still ran in it holds a root filesystem: it is detached, and goes when its last user does. */
const detached: OnBusy = ({ target }, error) =>
  log('warn', 'root filesystem in use, detached', { target, err: error.message });

const rootfsOf = (bundle: string): string => join(bundle, 'rootfs');

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
function groupOf(id: string, { cgroupsPath }: SpecFacts): ControlGroup | undefined {
  if (cgroupsPath.includes(':') || normalize(join('/', cgroupsPath)) === '/') return undefined;
  if (cgroupsPath === '') return ControlGroup.of(process.pid)?.below(id);
  return ControlGroup.everywhere(join('/', cgroupsPath));
}

/**
 * Kills what runs of the container, known to the OCI runtime or not, and
 * removes its control group and its mounts. The bundle's files stay.
 */
export async function discardContainer({ id, bundle, runtime }: Leftover): Promise<void> {
  await runtime.delete(id, true).catch((error: unknown) => logError('runtime delete --force', error, { id }));
  const group = groupOf(id, readSpec(bundle));
  for (const pid of group?.processes() ?? []) kill(pid);
  group?.remove();
  await unmountAll(rootfsOf(bundle), detached);
  // Besides, its init process is pinned there.
  await unmountAll(bundle);
}

/**
 * Removes a container whose processes have all ended, and its mounts. What runc
 * keeps of it is a directory and control groups; removing them here, while the
 * root filesystem is unmounted, spares a run of it, a tenth of what a short
 * container takes. Everything else is left to the runtime.
 */
export async function removeStopped({ id, bundle, runtime }: Leftover, spec: SpecFacts): Promise<void> {
  const group = runtime.keepsOnlyFiles && !spec.endsByRuntime ? groupOf(id, spec) : undefined;
  if (group === undefined || group.processes().length > 0) {
    await runtime.delete(id);
    await unmountWithin(rootfsOf(bundle), detached);
    return;
  }
  // The bundle's path was looked at when the task was made: it goes through no links.
  const unmounting = unmountWithin(rootfsOf(bundle), detached);
  const removing = Promise.try(() => {
    group.remove();
    runtime.forget(id);
  });
  await Promise.all([unmounting, removing]);
}
