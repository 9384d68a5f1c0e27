/** What authors of snapshotters outside the tree build on: records and life cycle are done, storage is theirs. */
export { measureChanges, measureTree, removeTree, type TreeUsage } from '../tree/jobs.js';
export { SnapshotDirectories } from './directories.js';
export {
  type CommitOptions,
  type Layer,
  type SnapshotStorage,
  type SnapshotterOptions,
  type StorageMount,
  type StoredInfo,
  StoredSnapshotter,
  type ViewOptions,
} from './snapshotter.js';
