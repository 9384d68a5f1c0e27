/** examples/snapshot-zfs as its author has it: built against the packed tarball, on real ZFS. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { succeed } from '../harness/command.js';
import { outside, programIn, TOP } from '../harness/outside.js';

describe('examples/snapshot-zfs, built against the packed tarball', () => {
  let place = '';

  before(async () => {
    const { directory, package: newPackage } = await outside();
    place = await newPackage('snapshot-zfs');
    await cp(join(TOP, 'examples/snapshot-zfs'), place, { recursive: true });
    await succeed(programIn(directory, 'tsc'), ['-p', place]);
  });

  const passes = async (file: string, atLeast: number): Promise<void> => {
    const env = { KEELSON_CONFORMANCE_REQUIRED: '1' };
    const output = await succeed(process.execPath, ['--test', join(place, 'dist', file)], { env });
    const passed = Number(/^. pass (\d+)$/m.exec(output)?.[1]);
    assert.ok(passed >= atLeast, output);
  };

  it('passes the snapshotter kit', () => passes('conformance.test.js', 50));

  it('runs containers of ctr in a daemon that knows it by configuration alone', () => passes('ctr.test.js', 1));
});
