/** The runtime kit on the plugin as a kernel starts it: a file of its own, since the kit takes its time. */
import { describe, it } from 'node:test';
import { throughKernel } from '../../test/conformance/runtime.doors.js';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { runcSubject } from '../../test/harness/runc.js';

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
