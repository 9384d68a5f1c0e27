/**
 * Every archive of the corpus, unpacked as a layer in the plain and in the overlay form: nothing outside the tree
 * changes, whatever the answer is, and what is legal becomes what GNU tar makes of it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { codeOf } from '../../kernel/errors.js';
import { differencesFrom } from '../harness/reference.js';
import { describeTree, type TreeEntry } from '../harness/tree.js';
import { bind, TestDiffer } from '../harness/unpack.js';
import { SAMPLES, type Sample } from './corpus.js';
import { type Arena, arena } from './sentinel.js';
import { archive, file, raw, symlink } from './tar.js';

const differ = new TestDiffer();
after(() => differ[Symbol.asyncDispose]());

/** What a refusal may say: never INTERNAL, never a crash. */
const REFUSALS = ['INVALID_ARGUMENT', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION'];

type Outcome = 'unpacked' | 'refused';

async function unpack(layer: Buffer, mounts: Parameters<TestDiffer['apply']>[1]['mounts']): Promise<Outcome> {
  try {
    await differ.apply(layer, { mounts });
    return 'unpacked';
  } catch (error) {
    const code = codeOf(error);
    assert.ok(code !== undefined && REFUSALS.includes(code), String(error));
    return 'refused';
  }
}

/** Unpacks it in both forms; resolves to what became of it in the plain one. */
async function attack(place: Arena, layer: Buffer): Promise<Outcome> {
  const [plain, lower, upper] = ['plain', 'lower', 'upper'].map((name) => join(place.root, name));
  assert.ok(plain && lower && upper);
  for (const directory of [plain, lower, upper]) mkdirSync(directory, { mode: 0o755 });
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${place.root}/work`];
  const outcome = await unpack(layer, [bind(plain)]);
  await unpack(layer, [{ type: 'overlay', source: 'overlay', target: '', options }]);
  assert.deepEqual(place.damage(), []);
  assert.deepEqual(describeTree(lower, { withoutRoot: true }), [], 'the layer below is untouched');
  return outcome;
}

function byGnuTar(place: Arena, layer: Buffer): TreeEntry[] {
  const reference = join(place.root, 'reference');
  mkdirSync(reference);
  // It complains of a lone zero block and of slashes it takes off: neither is an error.
  const options = [
    '--extract',
    '--file=-',
    '--numeric-owner',
    '--preserve-permissions',
    '--xattrs',
    '--xattrs-include=*',
  ];
  execFileSync('tar', [...options, `--directory=${reference}`], { input: layer, stdio: ['pipe', 'ignore', 'ignore'] });
  return describeTree(reference, { withoutRoot: true });
}

async function check({ name, bytes, legal }: Sample): Promise<Outcome> {
  await using place = await arena();
  const layer = bytes(place);
  try {
    const outcome = await attack(place, layer);
    if (!legal) return outcome;
    assert.equal(outcome, 'unpacked');
    const ours = describeTree(join(place.root, 'plain'), { withoutRoot: true });
    assert.deepEqual(differencesFrom(byGnuTar(place, layer), ours), []);
    return outcome;
  } catch (cause) {
    throw new Error(`${name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

describe('corpus of archives', () => {
  test(`${SAMPLES.length} archives: nothing outside changes, and legal ones are what GNU tar makes of them`, async (test) => {
    const legal = SAMPLES.filter((sample) => sample.legal).length;
    assert.ok(SAMPLES.length >= 500);
    const problems: unknown[] = [];
    const outcomes = { unpacked: 0, refused: 0 };
    for (const sample of SAMPLES) {
      await check(sample).then(
        (outcome) => {
          outcomes[outcome] += 1;
        },
        (problem: unknown) => problems.push(problem),
      );
    }
    const { unpacked, refused } = outcomes;
    test.diagnostic(
      `${SAMPLES.length} archives, ${legal} of them legal; ${unpacked} unpacked, ${refused} refused; 0 escapes`,
    );
    assert.deepEqual(problems, []);
  });

  test('an archive cut at any byte is refused or whole, and reaches nothing', async () => {
    await using place = await arena();
    const layer = archive(symlink('x', '../victim'), file('x/secret', 'changed'), raw({ name: 'last', data: 'data' }));
    const whole = layer.length - 1024;
    for (let size = 1; size < layer.length; size += 1) {
      const root = join(place.root, String(size));
      mkdirSync(root);
      const outcome = await unpack(layer.subarray(0, size), [bind(root)]);
      // Between two entries nothing tells that more were to come; the end mark may be missing, but not half there.
      const complete = size % 512 === 0 && (size >= whole || [512, 1536].includes(size));
      assert.equal(outcome, complete ? 'unpacked' : 'refused', `${size} of ${layer.length} bytes`);
    }
    assert.deepEqual(place.damage(), []);
  });
});
