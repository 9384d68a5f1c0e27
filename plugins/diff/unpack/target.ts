/** Where a layer goes, told as data so that a worker thread can be told. */
export interface Target {
  /** Directory to unpack into. */
  readonly root: string;
  /** `plain`: the tree itself. `overlay`: what an overlay's upper directory holds, deletions as whiteouts. */
  readonly form: 'plain' | 'overlay';
  /** Of an overlay: the layers below, topmost first. Undefined: there are some, but not which. */
  readonly lowers?: readonly string[];
  /** The layers below are not known yet, but will be told when everything of this one is there. */
  readonly lowersFollow?: boolean;
  /** Of an overlay: where its own attributes are kept. */
  readonly xattrs: 'trusted' | 'user';
}
