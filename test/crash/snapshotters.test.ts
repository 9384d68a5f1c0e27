import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Background } from '../harness/command.js';
import { filesystemMissing, loopFilesystem } from '../harness/loop.js';
import { scratch } from '../harness/scratch.js';
import { checkLeft, KINDS, type Kind, parseSteps, possibleStates } from './snapshotter-model.js';

const worker = join(import.meta.dirname, 'snapshotter-worker.js');

/** Runs that are killed at a random instant. */
const ROUNDS: Readonly<Record<Kind, number>> = { overlay: 8, vfs: 6, btrfs: 3 };

/** How often a failpoint is passed before it kills. */
const PASSES: Readonly<Record<Kind, readonly number[]>> = { overlay: [0, 3], vfs: [2], btrfs: [2] };

/** Every failpoint on the way of a snapshot. */
const failpoints = (kind: Kind): string[] =>
  ['snap.mkdir', 'db.commit', 'snap.record', 'snap.measure', 'snap.remove', 'snap.rmdir'].flatMap((point) =>
    PASSES[kind].map((passes) => `${point}=${passes}*off->kill`),
  );

const directory = (kind: Kind) => (kind === 'btrfs' ? loopFilesystem('btrfs') : scratch(`crash-${kind}`));

/** Runs a worker to its end, whoever kills it, and checks what it leaves. */
async function round(
  kind: Kind,
  seed: number,
  env: Readonly<Record<string, string>>,
  kill?: (worker: Background) => Promise<void>,
): Promise<void> {
  await using place = await directory(kind);
  const [root, work] = [join(place.path, 'root'), join(place.path, 'work')];
  await mkdir(root);
  await mkdir(work);
  await using background = new Background(process.execPath, [worker, kind, root, String(seed)], { env });
  await kill?.(background);
  const { stdout, stderr, signal } = await background.ended;
  assert.equal(stderr, '');
  if (kill === undefined) assert.equal(signal, 'SIGKILL', 'the failpoint was not reached');
  await checkLeft(kind, root, work, parseSteps(stdout));
}

for (const kind of KINDS) {
  describe(`${kind} after kill -9`, () => {
    for (const failpoint of failpoints(kind)) {
      it(`at ${failpoint}`, async (context) => {
        const reason = kind === 'btrfs' ? await filesystemMissing('btrfs') : undefined;
        if (reason !== undefined) return context.skip(reason);
        return round(kind, 1, { KEELSON_FAILPOINTS: failpoint });
      });
    }

    it(`at ${ROUNDS[kind]} random instants`, async (context) => {
      const reason = kind === 'btrfs' ? await filesystemMissing('btrfs') : undefined;
      if (reason !== undefined) return context.skip(reason);
      const first = Date.now() % 1_000_000;
      context.diagnostic(`first seed ${first}`);
      for (let seed = first; seed < first + ROUNDS[kind]; seed += 1) {
        await round(kind, seed, {}, async (background) => {
          await background.stdout.until(/done/);
          await sleep(seed % 17);
          process.kill(background.pid, 'SIGKILL');
        });
      }
    });
  });
}

describe('the model of a crash', () => {
  it('leaves open only what was not acknowledged', () => {
    const prepare = { change: 'prepare', key: 'a', parent: '' } as const;
    const states = possibleStates([prepare, { done: true }, { change: 'commit', key: 'a', name: 'b' }]);
    assert.deepEqual(
      states.map((state) => [...state.keys()]),
      [['a'], ['b']],
    );
  });

  it('takes no line that was cut off', () => {
    assert.deepEqual(parseSteps('{"done":true}\n{"done":tr'), [{ done: true }]);
  });
});
