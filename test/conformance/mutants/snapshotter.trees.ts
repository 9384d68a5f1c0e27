/** Ways to break the files of a snapshot when it is committed, given those of its parent. */
import {
  chmodSync,
  cpSync,
  existsSync,
  lchownSync,
  lstatSync,
  readdirSync,
  rmSync,
  type Stats,
  truncateSync,
} from 'node:fs';
import { join, relative } from 'node:path';

/** `parent`: the tree it was prepared on; undefined for a base. */
export type Breakage = (tree: string, parent: string | undefined) => void;

interface Entry {
  readonly path: string;
  readonly stats: Stats;
}

const entriesOf = (tree: string): readonly Entry[] =>
  readdirSync(tree, { recursive: true, withFileTypes: true }).map(({ parentPath, name }) => {
    const path = join(parentPath, name);
    return { path, stats: lstatSync(path) };
  });

/** Of what is both in the tree and in its parent. */
const ofBoth =
  (change: (own: Entry, above: Entry) => void): Breakage =>
  (tree, parent) => {
    if (parent === undefined) return;
    for (const own of entriesOf(tree)) {
      const path = join(parent, relative(tree, own.path));
      if (existsSync(path)) change(own, { path, stats: lstatSync(path) });
    }
  };

export const unchangedBySizeAndTime = ofBoth((own, above) => {
  if (!own.stats.isFile() || own.stats.size !== above.stats.size || own.stats.mtimeMs !== above.stats.mtimeMs) return;
  cpSync(above.path, own.path, { preserveTimestamps: true });
});

export const ownersOfTheParent = ofBoth((own, above) => lchownSync(own.path, above.stats.uid, above.stats.gid));

export const emptiedByChmod = ofBoth((own, above) => {
  if (own.stats.isFile() && own.stats.mode !== above.stats.mode) truncateSync(own.path);
});

/** What was deleted or renamed is there again. */
export const deletionsForgotten: Breakage = (tree, parent) => {
  if (parent === undefined) return;
  for (const { path } of entriesOf(parent)) {
    const own = join(tree, relative(parent, path));
    if (!existsSync(own)) cpSync(path, own, { recursive: true, preserveTimestamps: true });
  }
};

export const usualModes: Breakage = (tree) => {
  for (const { path, stats } of entriesOf(tree)) if (stats.isDirectory()) chmodSync(path, 0o755);
};

export const socketsLost: Breakage = (tree) => {
  for (const { path, stats } of entriesOf(tree)) if (stats.isSocket()) rmSync(path);
};
