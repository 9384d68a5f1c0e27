/** Mounts: `containerd.types.Mount` on the wire. */

/** containerd.types.Mount. */
export interface MountMessage {
  type: string;
  source: string;
  target: string;
  options: string[];
}

export interface WireMount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

export const toMountMessage = ({ type, source, target, options }: WireMount): MountMessage => ({
  type,
  source,
  target,
  options: [...options],
});
