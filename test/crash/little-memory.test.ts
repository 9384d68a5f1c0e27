/** Fifty pulls at once by a daemon that may have 256 MiB: fault 40 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { connect, pullImage } from '../../client/index.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { Daemon } from '../harness/daemon.js';
import { LimitedGroup } from '../harness/limited-group.js';
import { addImage, archiveOf } from '../hostile/images.js';
import { ScriptedRegistry } from '../hostile/registry.js';

const COUNT = 50;
const LAYERS = 3;
const MEBIBYTE = 1 << 20;
const LIMIT = 256 * MEBIBYTE;
/** More than what is under way of a layer at a time. */
const LAYER_SIZE = 3 * MEBIBYTE;

describe(`a daemon with ${LIMIT / MEBIBYTE} MiB`, () => {
  it(`serves ${COUNT} pulls at once, and is not killed`, async (test) => {
    await using registry = await ScriptedRegistry.start();
    const references = Array.from({ length: COUNT }, (_, n) => {
      const layers = Array.from({ length: LAYERS }, (_, index) => archiveOf(`file${index}`, LAYER_SIZE));
      addImage(registry, { tag: `v${n}`, layers });
      return `${registry.host}/team/image${n}:v${n}`;
    });
    await using group = new LimitedGroup('memory', LIMIT);
    await using daemon = await group.around(process.pid, () => Daemon.start({ kind: 'keelsond' }));
    using client = connect({ address: daemon.address, namespace: 'memory' });
    const pull = async (snapshotter: string): Promise<void> => {
      const begun = performance.now();
      const unpack = [{ platform: hostPlatform(), snapshotter }];
      await Promise.all(references.map((reference) => pullImage(client, { reference, plainHttp: true, unpack })));
      const [, peak = ''] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${daemon.pid}/status`, 'utf8')) ?? [];
      const seconds = ((performance.now() - begun) / 1000).toFixed(1);
      test.diagnostic(`${snapshotter}: ${seconds} s, at most ${(Number(peak) / 1024).toFixed(0)} MiB resident`);
      assert.equal(group.kills, 0);
    };
    await pull('overlayfs');
    // Now all layers are there, and all are read at once.
    await pull('native');
    assert.equal((await client.images.list({})).images.length, COUNT);
  });
});
