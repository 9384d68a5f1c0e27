/**
 * A place where hostile layers are unpacked, with things beside the target
 * that nothing may touch: files, links, modes, owners, times, link counts.
 */
import { chmodSync, chownSync, linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Scratch, scratch } from '../harness/scratch.js';
import { describeTree, treeDifferences } from '../harness/tree.js';

export interface Arena extends AsyncDisposable {
  /** Where the layer goes. */
  readonly root: string;
  /** Directory outside, with `secret` (mode 0400) and `dir/` in it. */
  readonly victim: string;
  /** Name of a directory beside the root that begins with the root's name. */
  readonly sibling: string;
  /** What is different outside the root; to be empty. */
  damage(): string[];
}

function plant(directory: string): void {
  mkdirSync(join(directory, 'dir'), { recursive: true });
  writeFileSync(join(directory, 'secret'), 'do not touch');
  linkSync(join(directory, 'secret'), join(directory, 'secret-too'));
  symlinkSync('secret', join(directory, 'link'));
  chmodSync(join(directory, 'secret'), 0o400);
  chownSync(join(directory, 'secret'), 1234, 5678);
  for (const name of ['secret', 'dir', '.']) utimesSync(join(directory, name), 1000, 1000);
}

export async function arena(): Promise<Arena> {
  const place: Scratch = await scratch('hostile');
  const root = join(place.path, 'root');
  const victim = join(place.path, 'victim');
  mkdirSync(root, { mode: 0o755 });
  plant(victim);
  plant(`${root}-evil`);
  utimesSync(place.path, 2000, 2000);
  const outside = (): ReturnType<typeof describeTree> =>
    describeTree(place.path, { overlayXattrs: true }).filter(
      ({ path }) => path !== 'root' && !path.startsWith('root/'),
    );
  const before = outside();
  return {
    root,
    victim,
    sibling: 'root-evil',
    damage: () => treeDifferences(outside(), before),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}
