/** The mounts this process sees: proc_pid_mountinfo(5). */
import { readKernelFile } from './kernel-file.js';

export interface MountEntry {
  readonly id: number;
  readonly parentId: number;
  /** Path within the filesystem that forms the root of this mount. */
  readonly root: string;
  /** Mount point, as seen from this process's root. */
  readonly target: string;
  /** Per-mount options: `rw`, `nosuid`, ... */
  readonly options: readonly string[];
  /** Propagation: `shared:7`, `master:3`, ...; empty for a private mount. */
  readonly propagation: readonly string[];
  /** For example `overlay`. */
  readonly type: string;
  readonly source: string;
  /** Options of the filesystem, one text: values may hold escaped commas. */
  readonly superOptions: string;
}

/** The kernel writes blank, tab, newline, `\` and `#` as `\` and three octal digits. */
function decode(field: string): string {
  if (!field.includes('\\')) return field;
  const bytes = Buffer.from(field, 'utf8').toString('latin1');
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return Buffer.from(plain, 'latin1').toString('utf8');
}

function parseLine(line: string): MountEntry {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  const [id = '', parentId = '', , root = '', target = '', options = ''] = fields;
  const [type = '', source = '', superOptions = ''] = fields.slice(separator + 1);
  return {
    id: Number(id),
    parentId: Number(parentId),
    root: decode(root),
    target: decode(target),
    options: options.split(','),
    propagation: fields.slice(6, separator),
    type: decode(type),
    source: decode(source),
    superOptions: decode(superOptions),
  };
}

/** Parses the text of a mountinfo file; entries keep its order, in which a mount follows the one it sits on. */
export function parseMountTable(text: string): MountEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

/** The mounts of the calling process now. */
export const mountTable = (): MountEntry[] => parseMountTable(readKernelFile('/proc/self/mountinfo'));

/** True for `path` itself and everything inside it. */
const within = (path: string, target: string): boolean =>
  target === path || target.startsWith(path === '/' ? '/' : `${path}/`);

/** The mounts at `path` or below, in the order in which they can be unmounted. `path` is absolute and free of links. */
export const mountsWithin = (path: string): MountEntry[] =>
  mountTable()
    .filter(({ target }) => within(path, target))
    .reverse();
