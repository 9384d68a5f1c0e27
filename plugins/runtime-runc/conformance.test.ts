import { describe, it } from 'node:test';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { runcSubject } from '../../test/harness/runc.js';

runtimeConformance({ describe, it }, runcSubject());
