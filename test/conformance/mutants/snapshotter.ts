/** Snapshotters with one behaviour broken each, for the kit to catch: snapshot-vfs with one call changed. */
import type { Mount, SnapshotInfo, Snapshotter } from '../../../kernel/contracts/snapshots.js';
import { failedPrecondition, hasCode } from '../../../kernel/errors.js';
import { openVfs } from '../../../plugins/snapshot-vfs/vfs.js';
import { scratch } from '../../harness/scratch.js';
import type { OpenSnapshotter, SnapshotterSubject } from '../snapshotter.js';
import type { Mutant } from './mutant.js';
import {
  type Breakage,
  deletionsForgotten,
  emptiedByChmod,
  ownersOfTheParent,
  socketsLost,
  unchangedBySizeAndTime,
  usualModes,
} from './snapshotter.trees.js';

async function openReal(root: string): Promise<OpenSnapshotter> {
  const snapshotter = await openVfs(root, { warn: () => undefined });
  return { snapshotter, close: () => snapshotter.close() };
}

/** What happens to the real snapshotter when it is opened, and the calls that take the place of its own. */
type Change = (real: Snapshotter) => Partial<Snapshotter> | Promise<Partial<Snapshotter>>;

/** The calls of a snapshotter as properties, so that some can be replaced. */
const callsOf = (real: Snapshotter): Snapshotter => ({
  capabilities: real.capabilities,
  stat: (key) => real.stat(key),
  update: (key, labels, mask) => real.update(key, labels, mask),
  usage: (key) => real.usage(key),
  mounts: (key) => real.mounts(key),
  prepare: (key, parent, labels) => real.prepare(key, parent, labels),
  view: (key, parent, labels) => real.view(key, parent, labels),
  commit: (name, key, options) => real.commit(name, key, options),
  remove: (key) => real.remove(key),
  walk: () => real.walk(),
  cleanup: () => real.cleanup(),
});

async function openChanged(root: string, change: Change): Promise<OpenSnapshotter> {
  const { snapshotter, close } = await openReal(root);
  return { snapshotter: { ...callsOf(snapshotter), ...(await change(snapshotter)) }, close };
}

const changed = (change: Change, can: Partial<SnapshotterSubject['can']> = {}): SnapshotterSubject => ({
  name: 'snapshot-vfs',
  unavailable: async () => undefined,
  can: { rebase: false, renameParentsDirectory: true, writeThroughParentsHardlinks: true, exactTimes: true, ...can },
  directory: () => scratch('vfs'),
  open: (root) => openChanged(root, change),
});

/** Made as the broken ones, with nothing broken. */
export const soundSnapshotter = (): SnapshotterSubject => changed(() => ({}));

const mutant = (
  title: string,
  caughtBy: RegExp,
  ...change: Parameters<typeof changed>
): Mutant<SnapshotterSubject> => ({ title, caughtBy, subject: () => changed(...change) });

const writable = (mounts: readonly Mount[]): Mount[] =>
  mounts.map((mount) => ({ ...mount, options: mount.options.map((option) => (option === 'ro' ? 'rw' : option)) }));

const viewsWritable: Change = (real) => ({
  view: async (...view) => writable(await real.view(...view)),
  mounts: async (key) => writable(await real.mounts(key)),
});

const rememberedKeys: Change = (real) => {
  const committed = new Map<string, SnapshotInfo>();
  return {
    async commit(name, key, options) {
      const info = await real.stat(key);
      await real.commit(name, key, options);
      committed.set(key, info);
    },
    stat: async (key) => committed.get(key) ?? real.stat(key),
  };
};

async function removeWithChildren(real: Snapshotter, key: string): Promise<void> {
  for (const { name, parent } of await Array.fromAsync(real.walk())) {
    if (parent === key) await removeWithChildren(real, name);
  }
  await real.remove(key);
}

const nothingUsed: Change = () => ({ usage: async () => ({ inodes: 0, size: 0 }) });

const masksIgnored: Change = (real) => ({
  async update(key, labels, mask) {
    // refuses a mask that is none
    await real.update(key, labels, mask);
    return real.update(key, labels);
  },
});

const labelsInherited: Change = (real) => ({
  async commit(name, key, options = {}) {
    const { labels } = await real.stat(key);
    await real.commit(name, key, { ...options, labels: { ...labels, ...options.labels } });
  },
});

const unknownParentsForgiven: Change = (real) => ({
  prepare: (key, parent, labels) =>
    real.prepare(key, parent, labels).catch((error: unknown) => {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      return real.prepare(key, '', labels);
    }),
});

const takenKeysShared: Change = (real) => ({
  prepare: (key, ...rest) =>
    real.prepare(key, ...rest).catch((error: unknown) => {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      return real.mounts(key);
    }),
});

/** Of a directory that is opened for the first time, nothing is active yet. */
const activeForgottenByRestart: Change = async (real) => {
  for (const { kind, name } of await Array.fromAsync(real.walk())) if (kind === 'active') await real.remove(name);
  return {};
};

const timeOfUpdateKept: Change = (real) => {
  const kept = (info: SnapshotInfo): SnapshotInfo => ({ ...info, updatedAt: info.createdAt });
  return {
    update: async (...update) => kept(await real.update(...update)),
    stat: async (key) => kept(await real.stat(key)),
    async *walk() {
      for await (const info of real.walk()) yield kept(info);
    },
  };
};

const parentsWrittenThrough: Change = (real) => ({
  async prepare(key, parent, labels) {
    const own = await real.prepare(key, parent, labels);
    if (parent === '') return own;
    const view = await real.view(`parent of ${key}`, parent);
    await real.remove(`parent of ${key}`);
    return writable(view);
  },
});

const viewsPassedOver: Change = (real) => ({
  async *walk() {
    for await (const info of real.walk()) if (info.kind !== 'view') yield info;
  },
});

const emptyLayersCommitted: Change = (real) => ({
  async commit(name, key, options) {
    const { kind, parent } = await real.stat(key);
    if (kind === 'active') {
      await real.remove(key);
      await real.prepare(key, parent);
    }
    await real.commit(name, key, options);
  },
});

const lateCommitsWelcome: Change = (real) => ({
  commit: (name, key, options) =>
    real.commit(name, key, options).catch((error: unknown) => {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }),
});

const rebaseWithoutParent: Change = (real) => ({
  capabilities: ['rebase'],
  commit: (name, key, { labels = {} } = {}) => real.commit(name, key, { labels }),
});

const cleanupOfViews: Change = (real) => ({
  async cleanup() {
    for (const { kind, name } of await Array.fromAsync(real.walk())) if (kind === 'view') await real.remove(name);
    await real.cleanup();
  },
});

const sourceOf = ([mount]: readonly Mount[]): string => mount?.source ?? '';

/** The tree of what is committed, and of nothing else; none for an empty name. */
async function parentTree(real: Snapshotter, name: string): Promise<string | undefined> {
  if (name === '') return undefined;
  const key = `parent ${name} of a commit`;
  const tree = sourceOf(await real.view(key, name));
  await real.remove(key);
  return tree;
}

const brokenAtCommit =
  (breakage: Breakage): Change =>
  (real) => ({
    async commit(name, key, options) {
      const { kind, parent } = await real.stat(key);
      if (kind === 'active') breakage(sourceOf(await real.mounts(key)), await parentTree(real, parent));
      await real.commit(name, key, options);
    },
  });

const busyAfterCommit: Change = (real) => {
  const busy = new Set<string>();
  return {
    async commit(name, key, options) {
      await real.commit(name, key, options);
      busy.add(name);
    },
    async remove(key) {
      if (busy.delete(key)) throw failedPrecondition(`snapshot "${key}" is busy`);
      await real.remove(key);
    },
  };
};

export const snapshotterMutants: readonly Mutant<SnapshotterSubject>[] = [
  mutant('views are mounted writable', /views read-only/, viewsWritable),
  mutant('a key is still known once it is committed', /forgets the key when it is committed/, rememberedKeys),
  mutant('a parent is removed, and its children with it', /removes children before parents only/, (real) => ({
    remove: (key) => removeWithChildren(real, key),
  })),
  mutant('nothing takes any space', /measures an active snapshot now/, nothingUsed),
  mutant('an update of one label replaces all', /changes single labels by mask/, masksIgnored),
  mutant('labels of the key go over to the name', /takes labels when it prepares, views and commits/, labelsInherited),
  mutant('an unknown parent counts as none', /refuses a parent that is unknown/, unknownParentsForgiven),
  mutant('a key that is taken is given out again', /refuses a key or name that is taken/, takenKeysShared),
  mutant('an update leaves the time of the last one', /replaces all labels without a mask/, timeOfUpdateKept),
  mutant('a restart forgets what is active', /keeps everything over a restart/, activeForgottenByRestart),
  mutant('what is written goes to the parent', /leaves parents as they are/, parentsWrittenThrough),
  mutant('a walk passes over views', /walks over everything/, viewsPassedOver),
  mutant('a commit loses what was written', /content: adds, changes and deletes/, emptyLayersCommitted),
  mutant('a key can be committed by many', /lets one of many commit a key/, lateCommitsWelcome),
  mutant('rebase is promised and drops the parent', /rebases, or says/, rebaseWithoutParent, { rebase: true }),
  mutant('what has its old size and time has its old text', /issues\/21555/, brokenAtCommit(unchangedBySizeAndTime)),
  mutant('a directory made anew shows what it had', /issues\/25244/, brokenAtCommit(deletionsForgotten)),
  mutant('what is renamed stays under its old name too', /issues\/25409/, brokenAtCommit(deletionsForgotten)),
  mutant('what a parent has belongs to its owner there', /issues\/20240/, brokenAtCommit(ownersOfTheParent)),
  mutant('directories are committed with the usual mode', /issues\/27298/, brokenAtCommit(usualModes)),
  mutant('sockets are no part of a commit', /issues\/12080/, brokenAtCommit(socketsLost)),
  mutant('a file of a parent loses its text with its mode', /issues\/3327/, brokenAtCommit(emptiedByChmod)),
  mutant('what was just committed is busy', /issues\/24309/, busyAfterCommit),
  mutant('a cleanup takes views with it', /cleans up what was removed and nothing else/, cleanupOfViews),
];
