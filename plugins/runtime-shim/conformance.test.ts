import { rm } from 'node:fs/promises';
import { after, describe, it } from 'node:test';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { NAMESPACE } from '../../test/conformance/runtime.workbench.js';
import { stockShimSubject } from '../../test/harness/shim.js';

// The stock shim leaves these by habit.
after(() => rm(`/run/containerd/runc/${NAMESPACE}`, { recursive: true, force: true }));

runtimeConformance({ describe, it }, stockShimSubject());
