import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { throughKernel } from '../../test/conformance/runtime.doors.js';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { NAMESPACE } from '../../test/conformance/runtime.workbench.js';
import { stockShimSubject } from '../../test/harness/shim.js';

// The stock shim leaves these by habit.
after(() => rm(`/run/containerd/runc/${NAMESPACE}`, { recursive: true, force: true }));

const subject = stockShimSubject();

runtimeConformance({ describe, it }, subject);

runtimeConformance(
  { describe, it },
  {
    ...subject,
    name: `${subject.name} through a kernel`,
    open(directory, events) {
      const address = join(directory, 'none.sock');
      const ttrpcAddress = join(directory, 't.sock');
      const config = {
        'server-ttrpc': { address: ttrpcAddress },
        'runtime-shim': { address, ttrpc_address: ttrpcAddress },
      };
      const provider = { plugin: 'runtime-shim', wireId: 'manager', beside: ['server-ttrpc'], config };
      return throughKernel(provider, directory, events);
    },
  },
);
