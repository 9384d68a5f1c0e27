/**
 * containerd's own configuration (versions 2, 3 and 4) put in our terms. As
 * containerd does with keys it does not know, what has no counterpart here is
 * warned about, with its place, and ignored.
 */
import { jsonSchemaOf, type KeyPath, showPath, valueAt } from '../kernel/config.js';
import { type Definition, discover } from '../kernel/discover.js';
import { invalidArgument } from '../kernel/errors.js';
import { builtins } from './builtins.js';
import { Settings } from './schema.js';
import { child, emptyTable, growTree, type Table, type Tree, toValue, withChild } from './tree.js';

const NEWEST = 4;

/** The number under `version`, by which a file of containerd's is recognised; ours has no such key. */
export function containerdVersion(table: Table | undefined): number | undefined {
  const version = child(table, 'version');
  return version?.kind === 'leaf' && Number.isInteger(version.value) ? Number(version.value) : undefined;
}

/** Where each of containerd's own settings goes. An empty value means its default there, so it stays away. */
const PLACES: Readonly<Record<string, KeyPath>> = {
  root: ['root'],
  state: ['state'],
  disabled_plugins: ['disabled_plugins'],
  required_plugins: ['required_plugins'],
  'grpc.address': ['plugins', 'server-grpc', 'config', 'address'],
  'grpc.uid': ['plugins', 'server-grpc', 'config', 'uid'],
  'grpc.gid': ['plugins', 'server-grpc', 'config', 'gid'],
  'grpc.max_recv_message_size': ['plugins', 'server-grpc', 'config', 'max_recv_message_size'],
  'grpc.max_send_message_size': ['plugins', 'server-grpc', 'config', 'max_send_message_size'],
  'ttrpc.address': ['plugins', 'server-ttrpc', 'config', 'address'],
  'ttrpc.uid': ['plugins', 'server-ttrpc', 'config', 'uid'],
  'ttrpc.gid': ['plugins', 'server-ttrpc', 'config', 'gid'],
  'debug.level': ['log', 'level'],
};

/** Settings of plugins that have other names here. */
const RENAMED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'io.containerd.transfer.v1.local': {
    max_concurrent_downloads: 'downloads',
    concurrent_layer_fetch_buffer: 'download_chunk',
  },
};

const STREAM_PROCESSORS = 'stream_processors';

/** Handled elsewhere: by the reader of files, or below. */
const HANDLED: readonly string[] = ['version', 'imports', 'plugins'];

const KNOWN_BUT_NOT_DONE: Readonly<Record<string, string>> = {
  'grpc.tcp_address': 'the API is served on the unix socket only',
  'debug.address': 'there is no debug socket yet',
  'debug.format': 'the log is JSON, or text on a terminal',
  metrics: 'metrics are not served yet',
  timeouts: 'timeouts cannot be set yet',
  cgroup: 'the daemon stays in the cgroup it was started in',
  oom_score: 'set it where the daemon is started, for example OOMScoreAdjust= of systemd',
  temp: 'temporary files live below root and state',
};

/** Levels of containerd's that have other names here. */
const LEVELS: Readonly<Record<string, string>> = { warning: 'warn', panic: 'fatal' };

const isServed = ([top, id]: KeyPath): boolean => top !== 'plugins' || Object.hasOwn(builtins, String(id));

/** What means "the default" in containerd's terms. */
function isEmpty(tree: Tree): boolean {
  if (tree.kind === 'leaf') return tree.value === '' || tree.value === 0 || tree.value === false;
  return [...(tree.kind === 'list' ? tree.items : tree.entries.values())].every(isEmpty);
}

/** The section of a plugin with the names that its settings have here. */
function inOurTerms(uri: string, tree: Tree): Tree {
  const names = RENAMED[uri];
  if (names === undefined || tree.kind !== 'table') return tree;
  const entries = [...tree.entries].flatMap(([key, inner]): [string, Tree][] => {
    const name = names[key];
    if (name === undefined) return [[key, inner]];
    return isEmpty(inner) ? [] : [[name, inner]];
  });
  return { ...tree, entries: new Map(entries) };
}

class Translation {
  table: Table;
  readonly #warnings: string[];

  constructor(source: Table, warnings: string[]) {
    this.table = emptyTable(source.origin.document);
    this.#warnings = warnings;
  }

  async warn(tree: Tree, why: string): Promise<void> {
    const { document, path } = tree.origin;
    this.#warnings.push(`${await document.position(path, 'key')}: ${showPath(path)}: ${why}; it is ignored`);
  }

  put(path: KeyPath, tree: Tree): void {
    this.table = withChild(this.table, path, tree);
  }

  /** Settings outside `plugins`: two levels deep at most. */
  async setting(name: string, tree: Tree): Promise<void> {
    if (HANDLED.includes(name)) return;
    if (name === 'proxy_plugins') {
      this.put([name], await this.#known(tree, valueAt(jsonSchemaOf(Settings), ['properties', name])));
      return;
    }
    if (name === STREAM_PROCESSORS) {
      await this.#streamProcessors(tree);
      return;
    }
    const place = PLACES[name];
    if (place !== undefined && isServed(place)) {
      this.#place(place, tree);
      return;
    }
    if (tree.kind === 'table' && Object.keys(PLACES).some((key) => key.startsWith(`${name}.`))) {
      for (const [key, inner] of tree.entries) await this.setting(`${name}.${key}`, inner);
      return;
    }
    if (isEmpty(tree)) return;
    await this.warn(tree, KNOWN_BUT_NOT_DONE[name] ?? 'it is not known here');
  }

  /** A section of its own there, settings of the service in front of the differs here. */
  async #streamProcessors(tree: Tree): Promise<void> {
    const { plugin } = await builtins.differs();
    const schema = valueAt(jsonSchemaOf(plugin.config), ['properties', STREAM_PROCESSORS]);
    this.put(['plugins', 'differs', 'config', STREAM_PROCESSORS], await this.#known(tree, schema));
  }

  #place(place: KeyPath, tree: Tree): void {
    // Of numbers, only a user or group id means something when it is 0.
    if (isEmpty(tree) && !['uid', 'gid'].includes(String(place.at(-1)))) return;
    const level = tree.kind === 'leaf' && place[0] === 'log' ? LEVELS[String(tree.value)] : undefined;
    this.put(place, tree.kind === 'leaf' && level !== undefined ? { ...tree, value: level } : tree);
  }

  /** `[plugins."io.containerd.snapshotter.v1.overlayfs"]`: the section of the plugin with that wire name. */
  async plugin(uri: string, tree: Tree, ours: ReadonlyMap<string, Definition>): Promise<void> {
    const definition = ours.get(uri);
    if (definition === undefined) {
      if (tree.kind !== 'table' || tree.entries.size > 0) await this.warn(tree, 'there is no such plugin here');
      return;
    }
    const known = await this.#known(inOurTerms(uri, tree), jsonSchemaOf(definition.plugin.config));
    this.put(['plugins', definition.id, 'config'], known);
  }

  /** The tree without the keys that the schema does not know. */
  async #known(tree: Tree, schema: unknown): Promise<Tree> {
    if (tree.kind !== 'table') return tree;
    const properties = growTree(schema, tree.origin.document);
    const entries = new Map<string, Tree>();
    for (const [key, inner] of tree.entries) {
      const property = child(child(properties, 'properties'), key) ?? child(properties, 'additionalProperties');
      if (property?.kind === 'table') entries.set(key, await this.#known(inner, toValue(property)));
      else await this.warn(inner, 'the plugin has no such setting here');
    }
    return { ...tree, entries };
  }
}

/** The plugins of the tree by their wire names. */
async function byWireName(): Promise<ReadonlyMap<string, Definition>> {
  const found = await Promise.all(Object.keys(builtins).map((id) => discover(id, {}, { builtins, packagesFrom: [] })));
  return new Map(
    found.flatMap((result) => {
      if (!('definition' in result)) return [];
      const { type, id } = result.definition.plugin.wire;
      return [[`${type}.${id}`, result.definition] as const];
    }),
  );
}

/** INVALID_ARGUMENT for a version that is not understood. Warnings are added to `warnings`. */
export async function fromContainerd(source: Table, warnings: string[]): Promise<Table> {
  const version = containerdVersion(source);
  if (version !== undefined && (version < 2 || version > NEWEST)) {
    const at = await source.origin.document.position(['version'], 'value');
    const remedy = 'convert it with `containerd config migrate`';
    throw invalidArgument(`${at}: version: found ${version}, expected 2, 3 or ${NEWEST} of containerd's format`, {
      remedy,
    });
  }
  const translation = new Translation(source, warnings);
  for (const [name, tree] of source.entries) await translation.setting(name, tree);
  const plugins = source.entries.get('plugins');
  if (plugins?.kind !== 'table' || plugins.entries.size === 0) return translation.table;
  const ours = await byWireName();
  for (const [uri, tree] of plugins.entries) await translation.plugin(uri, tree, ours);
  return translation.table;
}
