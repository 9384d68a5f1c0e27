/** A daemon is killed in the middle of a pull; the next one carries on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Content } from '../../kernel/contracts/content.js';
import { Distribution } from '../../kernel/contracts/distribution.js';
import { GarbageCollector } from '../../kernel/contracts/leases.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { PULL_PLUGINS } from '../../test/crash/pull.js';
import { eventually } from '../../test/harness/eventually.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { addImage, archiveOf } from '../../test/hostile/images.js';
import { ScriptedRegistry } from '../../test/hostile/registry.js';

const CHILD = join(import.meta.dirname, '../../test/crash/pull.js');
const scope = { namespace: 'default' };

async function* files(directory: string): AsyncIterable<string> {
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) yield join(entry.parentPath, entry.name);
  }
}

/** The size of the largest file of an ingest. */
async function ingested(root: string): Promise<number> {
  let largest = 0;
  for await (const path of files(join(root, 'io.containerd.content.v1.content/ingest'))) {
    largest = Math.max(largest, (await stat(path)).size);
  }
  return largest;
}

describe('a pull whose daemon is killed', () => {
  for (const snapshotter of ['overlayfs', 'native']) {
    it(`is carried on by the next one on ${snapshotter}`, async () => {
      await using directory = await scratch('crash');
      await using registry = await ScriptedRegistry.start();
      const layers = [archiveOf('a', 3000), archiveOf('b', 5_000_000)];
      const image = addImage(registry, { tag: 'latest', layers });
      const reference = `${registry.host}/team/app:latest`;
      const pattern = new RegExp(`GET .*blobs/${image.layers[1]?.digest}`);
      registry.script(pattern, (response) => response.writeHead(200).write(image.blobs[1]?.subarray(0, 3_500_000)));

      const child = spawn(process.execPath, [CHILD, directory.path, reference, snapshotter], { stdio: 'inherit' });
      const root = join(directory.path, 'root');
      await eventually('three of five million bytes are written', async () => {
        const size = child.exitCode === null ? await ingested(root).catch(() => 0) : Number.POSITIVE_INFINITY;
        return size >= 3_000_000 ? size : undefined;
      });
      assert.equal(child.exitCode, null, 'it is still at it');
      child.kill('SIGKILL');
      await once(child, 'exit');

      await using kernel = await startTestKernel({
        plugins: PULL_PLUGINS,
        config: { distribution: { hosts_directories: [] } },
        directory: directory.path,
      });
      await kernel.get(GarbageCollector).collect();
      for await (const { kind, name } of kernel.get(Snapshots).walk(scope, snapshotter)) {
        assert.equal(kind, 'committed', name);
      }
      const statuses = await kernel.get(Content).statuses(scope);
      const left = statuses.find(({ ref }) => ref.includes(String(image.layers[1]?.digest)));
      assert.ok(left && left.offset >= 3_000_000, `what was downloaded is kept, not ${left?.offset} bytes`);

      registry.forget();
      const pulled = await kernel.get(Distribution).pull(scope, reference, { unpack: [{ snapshotter }] });
      assert.equal(pulled.unpacked[0]?.chainId, image.chainId);
      assert.deepEqual(
        registry.seen(pattern).map(({ headers }) => headers.range),
        [`bytes=${left.offset}-`],
      );
      assert.deepEqual(await kernel.get(Content).statuses(scope), []);
    });
  }
});
