/** New plugin packages: copies of the examples, which are tested as they are, under a name of one's own. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { alreadyExists, invalidArgument } from '../../kernel/errors.js';
import { VERSION } from '../../lib/version.js';

/** What a kind of plugin is copied from, and what of it is a name. */
interface Kind {
  readonly example: string;
  /** The example's id on the wire. */
  readonly short: string;
  /** Further names made of that id: pairs of the example's and what to put there. */
  readonly names: (short: string) => readonly (readonly [string, string])[];
  /** How to see it work in a daemon. */
  readonly use: (short: string) => string;
}

export const KINDS = {
  snapshotter: {
    example: 'snapshot-copy',
    short: 'copy',
    names: () => [],
    use: (short) => `ctr run --rm --snapshotter ${short} IMAGE try echo hello`,
  },
  runtime: {
    example: 'runtime-oci',
    short: 'oci',
    names: (short) => [['io.containerd.oci.v1', `io.containerd.${short}.v1`]],
    use: (short) => `ctr run --rm --runtime io.containerd.${short}.v1 IMAGE try echo hello`,
  },
  service: {
    example: 'service-greeter',
    short: 'greeter',
    names: (short) => [['example.greeter.v1', `example.${short.replaceAll('-', '_')}.v1`]],
    use: (short) =>
      `grpcurl -plaintext -unix /run/keelson/keelson.sock example.${short.replaceAll('-', '_')}.v1.Greeter/Greet`,
  },
  differ: {
    example: 'differ-brotli',
    short: 'brotli',
    names: () => [],
    use: (short) => `keelson plugins   # and name it in [plugins.differs.config] default = ["walking", "${short}"]`,
  },
} as const satisfies Readonly<Record<string, Kind>>;

export type KindName = keyof typeof KINDS;

declare const KEELSON_BUNDLED: boolean | undefined;
const isBundled = typeof KEELSON_BUNDLED === 'boolean' && KEELSON_BUNDLED;

const examples = fileURLToPath(new URL(isBundled ? '../../examples' : '../../../examples', import.meta.url));

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;

/** `snapshot-zfs` and `zfs` are both `zfs` on the wire. */
const shortOf = (name: string, { example, short }: Kind): string => {
  const prefix = example.slice(0, -short.length);
  return name.startsWith(prefix) ? name.slice(prefix.length) : name;
};

const readme = (name: string, kind: KindName): string => `# keelson-${name}

A ${kind} for Keelson.

    npm install        # in this directory
    npm run build
    npm test           # as root: Keelson's conformance kit

In the directory of the daemon's configuration, \`npm install keelson-${name}\` (or the path of this directory), and in the
configuration:

    [plugins.${name}]
    package = "keelson-${name}"

Then start the daemon, see it in \`keelson plugins\`, and

    ${KINDS[kind].use(shortOf(name, KINDS[kind]))}
`;

/** Files of the example, by their paths in it. */
async function filesOf(example: string): Promise<Map<string, string>> {
  const top = join(examples, example);
  const entries = await readdir(top, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(top.length + 1))
    .filter((path) => !/^(dist|node_modules)\/|^README/.test(path));
  return new Map(
    await Promise.all(paths.map(async (path) => [path, await readFile(join(top, path), 'utf8')] as const)),
  );
}

function renamed(text: string, name: string, kind: Kind): string {
  const short = shortOf(name, kind);
  const pairs = [
    [kind.example, name],
    [`id: '${kind.short}'`, `id: '${short}'`],
    ['"keelson": "^0.1.0"', `"keelson": "^${VERSION}"`],
    ...kind.names(short),
  ] as const;
  return pairs.reduce((changed, [from, to]) => changed.replaceAll(from, to), text);
}

export interface NewPlugin {
  /** Id of the plugin, for example `snapshot-mine`; the package is `keelson-snapshot-mine`. */
  readonly name: string;
  readonly kind: KindName;
  /** Where to put it; must be empty, or not exist. */
  readonly directory: string;
}

/** Writes the package; resolves to the files written. INVALID_ARGUMENT (name); ALREADY_EXISTS (directory). */
export async function scaffold({ name, kind, directory }: NewPlugin): Promise<readonly string[]> {
  if (!NAME.test(name) || name.length > 60)
    throw invalidArgument(`"${name}" cannot be the name of a plugin`, { remedy: 'use lower case, digits and hyphens' });
  const target = resolve(directory);
  await mkdir(target, { recursive: true });
  if ((await readdir(target)).length > 0) throw alreadyExists(`directory "${target}" is not empty`);
  const files = [...(await filesOf(KINDS[kind].example)), ['README.md', readme(name, kind)] as const];
  for (const [path, text] of files) {
    await mkdir(join(target, path, '..'), { recursive: true });
    await writeFile(join(target, path), path === 'README.md' ? text : renamed(text, name, KINDS[kind]));
  }
  return files.map(([path]) => path).sort();
}
