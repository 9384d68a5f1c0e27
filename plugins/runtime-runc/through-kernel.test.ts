/** The runtime kit on the plugin as a kernel starts it: a file of its own, since the kit takes its time. */
import { after, describe, it } from 'node:test';
import { throughKernel } from '../../test/conformance/runtime.doors.js';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { NAMESPACE } from '../../test/conformance/runtime.workbench.js';
import { eventually } from '../../test/harness/eventually.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

// The last supervisor outlives its kernel by as long as it may be idle.
after(() =>
  eventually('supervisors have ended', async () =>
    (await supervisorsBelow(`/${NAMESPACE}`)).length === 0 ? true : undefined,
  ),
);

// Supervisors that nobody needs end soon, and events wait for nobody.
const config = { 'runtime-runc': { idle: 1, event_grace: 0 } };
const provider = { plugin: 'runtime-runc', wireId: 'task', config };

runtimeConformance(
  { describe, it },
  {
    ...runcSubject(),
    name: 'runtime-runc through a kernel',
    open: (directory, events) => throughKernel(provider, directory, events),
  },
);
