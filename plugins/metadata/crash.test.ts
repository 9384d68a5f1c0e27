/** What is there after the process was killed between a change of a backend and its record. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { bytesOf, TestMetadata } from '../../test/harness/metadata.js';
import { scratch } from '../../test/harness/scratch.js';

const NS = { namespace: 'test' };
const A = digestOf(bytesOf('a'));
const DEADLINE = 30_000;

/** Runs `steps` on `metadata` in a child process, which the failpoint kills. */
async function killedAt(failpoint: string, directory: string, steps: string): Promise<void> {
  const program = `
    const { TestMetadata } = await import(${JSON.stringify(import.meta.resolve('../../test/harness/metadata.js'))});
    const NS = ${JSON.stringify(NS)};
    const metadata = await TestMetadata.start({ directory: ${JSON.stringify(directory)} });
    ${steps}
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, KEELSON_FAILPOINTS: failpoint },
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: DEADLINE,
  });
  await once(child, 'close');
  assert.equal(child.signalCode, 'SIGKILL', `failpoint ${failpoint} was not reached`);
}

const check = (
  failpoint: string,
  title: string,
  steps: string,
  body: (metadata: TestMetadata) => Promise<void>,
): void => {
  it(`${failpoint}: ${title}`, async () => {
    await using directory = await scratch('crash');
    await killedAt(failpoint, directory.path, steps);
    await using metadata = await TestMetadata.start({ directory: directory.path });
    await body(metadata);
  });
};

const orExists = async (work: Promise<unknown>): Promise<void> => {
  try {
    await work;
  } catch (error) {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  }
};

/** Whoever is told that it is there must find it: content and a layer, done again as a pull does. */
async function doAgain(metadata: TestMetadata): Promise<void> {
  await metadata.leases.create(NS, { id: 'again' });
  const scope = { ...NS, lease: 'again' };
  await metadata.putAgain(scope, 'a');
  assert.equal((await metadata.content.info(NS, A)).size, 1);
  const reader = await metadata.content.reader(NS, A);
  await reader.close();
  for (const snapshotter of ['overlayfs', 'native']) {
    const labels = { 'containerd.io/snapshot.ref': 'layer' };
    const prepare = metadata.snapshots.prepare(scope, snapshotter, 'making-layer', '', labels);
    await orExists(prepare);
    const names = await metadata.snapshotNames(NS, snapshotter);
    if (names.includes('making-layer')) await metadata.snapshots.commit(scope, snapshotter, 'layer', 'making-layer');
    assert.equal((await metadata.snapshots.stat(NS, snapshotter, 'layer')).kind, 'committed');
    await metadata.snapshots.prepare(scope, snapshotter, 'on-it', 'layer');
  }
  await metadata.collector.collect();
  const disk = await metadata.onDisk();
  assert.deepEqual(disk.blobs, [A]);
  const expected = ['native:layer', 'native:on-it', 'overlayfs:layer', 'overlayfs:on-it'];
  assert.deepEqual(disk.snapshots, expected);
  assert.deepEqual(await metadata.store.statuses(), []);
}

/** A collection finds what nobody knows. */
async function cleanAndAgain(metadata: TestMetadata): Promise<void> {
  await metadata.collector.collect();
  const { blobs, snapshots } = await metadata.onDisk();
  assert.deepEqual(blobs, await metadata.digests(NS));
  const recorded = await Promise.all(
    ['native', 'overlayfs'].map(async (snapshotter) =>
      (await metadata.snapshotNames(NS, snapshotter)).map((name) => `${snapshotter}:${name}`),
    ),
  );
  assert.deepEqual(snapshots, recorded.flat());
  await doAgain(metadata);
}

const PUT = `await metadata.put(NS, 'a');`;
const PULL = `
  ${PUT}
  await metadata.layer(NS, 'overlayfs', 'layer');
  await metadata.layer(NS, 'native', 'layer');`;
const COLLECT = `${PULL} await metadata.collector.collect();`;

describe('killed', () => {
  for (const [failpoint, steps] of [
    ['content.meta=kill', PUT],
    ['content.sync=kill', PUT],
    ['snap.meta=kill', PULL],
    ['snap.meta=1*off->kill', PULL],
    ['snap.commit=kill', PULL],
    ['snap.commit=1*off->kill', PULL],
    ['gc.sweep=kill', COLLECT],
    ['gc.blob=kill', COLLECT],
    ['gc.snapdir=kill', COLLECT],
    ['gc.snapdir=1*off->kill', COLLECT],
  ] as const) {
    check(failpoint, 'done again at once, it is there', steps, doAgain);
    check(failpoint, 'what is not recorded goes from disk', steps, cleanAndAgain);
  }
});
