import type { Mount } from '../../client/index.js';
import { withMounts } from '../../lib/linux/mount.js';
import type { User } from '../../lib/oci/runtime-spec.js';
import { needsAccountFiles, resolveUser } from '../../lib/oci/user.js';
import { readAccountFiles } from './account-files.js';

/** Turns `User` of an image or an option into numbers, looking into the container's filesystem where it must. */
export async function userIn(rootfs: readonly Mount[], user: string): Promise<User> {
  if (!needsAccountFiles(user)) return resolveUser(user === '' ? '' : '0:0', { passwd: '', group: '' });
  const readOnly = rootfs.map((mount) => ({ ...mount, options: readOnlyOptions(mount) }));
  return resolveUser(user, await withMounts(readOnly, readAccountFiles));
}

/** Only read, so nothing may be changed: an overlay is mounted with its upper directory as the topmost lower one. */
function readOnlyOptions({ options }: Mount): string[] {
  const value = (key: string): string | undefined =>
    options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
  const upper = value('upperdir');
  if (upper === undefined) return [...options.filter((option) => option !== 'rw'), 'ro'];
  const kept = options.filter((option) => !/^(upperdir|workdir|lowerdir)=/.test(option));
  return [...kept, `lowerdir=${upper}:${value('lowerdir') ?? ''}`];
}
