/**
 * Clients put containers into control groups `/NAMESPACE/ID`, of which the OCI
 * runtime removes only the last part. With the last task of the namespace the
 * first goes too.
 */
import { ControlGroup } from '../cgroups/group.js';

/** Removes the group of a namespace, unless there is something in it. */
export const removeNamespaceGroup = (namespace: string): void => ControlGroup.everywhere(`/${namespace}`).removeAlone();
