/** The runtime kit through the daemon's API: our supervisors, and Debian's shim. */
import { rm } from 'node:fs/promises';
import { after, describe, it } from 'node:test';
import { type RuntimeSubject, runtimeConformance } from '../conformance/runtime.js';
import { NAMESPACE } from '../conformance/runtime.workbench.js';
import { openRemoteRuntime } from '../harness/remote-runtime.js';
import { runcSubject } from '../harness/runc.js';
import { stockShimSubject } from '../harness/shim.js';

// The stock shim leaves these by habit.
after(() => rm(`/run/containerd/runc/${NAMESPACE}`, { recursive: true, force: true }));

const remote = (subject: RuntimeSubject): RuntimeSubject => ({
  ...subject,
  // Nobody has subscribed yet when a daemon that has started tells what happened before; and images of
  // checkpoints are content here, not directories (checkpoint.test.ts).
  can: { ...subject.can, replayExits: false, checkpoint: false },
  open: (directory, events) => openRemoteRuntime(directory, NAMESPACE, events),
});

const ours = { ...runcSubject(), name: 'our supervisors over gRPC' };
const stock = {
  ...stockShimSubject(),
  name: "Debian's shim over gRPC",
  runtimeName: '/usr/bin/containerd-shim-runc-v2',
};

runtimeConformance({ describe, it }, remote(ours));
runtimeConformance({ describe, it }, remote(stock), ['exec', 'control']);
