import { describe, it } from 'node:test';
import { throughKernel } from '../../test/conformance/runtime.doors.js';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { runcSubject } from '../../test/harness/runc.js';

const subject = runcSubject();

runtimeConformance({ describe, it }, subject);

// Supervisors that nobody needs end soon, and events wait for nobody.
const config = { 'runtime-runc': { idle: 1, event_grace: 0 } };
const provider = { plugin: 'runtime-runc', wireId: 'task', config };

runtimeConformance(
  { describe, it },
  {
    ...subject,
    name: 'runtime-runc through a kernel',
    open: (directory, events) => throughKernel(provider, directory, events),
  },
);
