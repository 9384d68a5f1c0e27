/** Stacks of random layers mean the same in every form, also where that is an error. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { codeOf } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { brief } from '../../test/harness/tree.js';
import { type Form, TestDiffer, unpackStack } from '../../test/harness/unpack.js';
import { archive, device, dir, file, hardlink, opaque, symlink, whiteout } from '../../test/hostile/tar.js';

const differ = new TestDiffer();
after(() => differ[Symbol.asyncDispose]());

const component = fc.constantFrom('a', 'b', 'c');
const name = fc.array(component, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const target = fc.oneof(
  name,
  name.map((path) => `/${path}`),
  name.map((path) => `../${path}`),
  fc.constantFrom('/', '..', '.'),
);

const MAKERS = {
  dir: (path: string) => dir(path),
  file: (path: string) => file(path, path),
  link: (path: string, to: string) => symlink(path, to),
  hard: (path: string, to: string) => hardlink(path, to),
  delete: (path: string) => whiteout(path),
  opaque: (path: string) => opaque(path),
  mark: (path: string) => device(path, '3', 0, 0),
  clear: () => file('.wh..wh..opq'),
} as const;

type Operation = readonly [kind: keyof typeof MAKERS, path: string, to: string];

const kind = fc.constantFrom<keyof typeof MAKERS>(
  ...([
    'dir',
    'dir',
    'dir',
    'file',
    'file',
    'file',
    'link',
    'hard',
    'delete',
    'delete',
    'opaque',
    'mark',
    'clear',
  ] as const),
);
const operation: fc.Arbitrary<Operation> = fc.tuple(kind, name, target);
const layers = fc.array(fc.array(operation, { minLength: 1, maxLength: 6 }), { minLength: 2, maxLength: 4 });

async function outcome(stack: readonly Operation[][], form: Form, place: string): Promise<string | string[]> {
  mkdirSync(place);
  const archives = stack.map((layer) => archive(...layer.map(([make, path, to]) => MAKERS[make](path, to))));
  try {
    return (await unpackStack(differ, archives, form, place)).map((entry) => `${brief(entry)} ${entry.content}`);
  } catch (error) {
    return codeOf(error);
  }
}

const check = (form: Form): Promise<void> =>
  fc.assert(
    fc.asyncProperty(layers, async (stack) => {
      await using root = await scratch('random');
      const plain = await outcome(stack, 'plain', join(root.path, 'plain'));
      const other = await outcome(stack, form, join(root.path, form));
      // A detached layer may leave a mark of deletion that is seen: see README.md.
      if (form === 'detached' && other === 'NOT_FOUND') return;
      assert.deepEqual(other, plain);
    }),
    {
      numRuns: Number(process.env.KEELSON_FUZZ_RUNS ?? 150),
      interruptAfterTimeLimit: Number(process.env.KEELSON_FUZZ_MILLIS ?? 30_000),
    },
  );

test('plain and overlay agree', () => check('overlay'));
test('plain and detached agree', () => check('detached'));
