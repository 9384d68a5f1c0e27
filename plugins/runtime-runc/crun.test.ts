import { existsSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { runtimeConformance } from '../../test/conformance/runtime.js';
import { crunBinary } from '../../test/harness/crun.js';
import { runcSubject } from '../../test/harness/runc.js';
import { scratch } from '../../test/harness/scratch.js';

const place = await scratch('crun');
after(() => place[Symbol.asyncDispose]());

const subject = runcSubject({ binary: await crunBinary(place.path) });

runtimeConformance(
  { describe, it },
  {
    ...subject,
    name: 'runtime-runc with crun',
    // Debian builds crun without criu.
    // crun 1.8 does not look at the size that an exec's terminal is to have, which comes a moment after its first instruction.
    can: { ...subject.can, checkpoint: false, resizeBeforeStart: false },
    unavailable: async () => (existsSync('/usr/bin/crun') ? subject.unavailable() : 'needs crun'),
  },
  ['lifecycle', 'exec', 'control'],
);
