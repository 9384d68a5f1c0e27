import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Logger } from 'pino';
import { type Arity, one, type Token } from './token.js';

// biome-ignore lint/suspicious/noExplicitAny: a set of tokens holds tokens of any service
export type Tokens = Readonly<Record<string, Token<any, Arity>>>;

type Service<K> = K extends Token<infer T, Arity> ? T : never;

/** What `start` receives for `requires`: one service, or a live map of them by wire id. */
export type Resolved<R extends Tokens> = {
  // biome-ignore lint/suspicious/noExplicitAny: only the arity is being matched
  readonly [K in keyof R]: R[K] extends Token<any, 'many'> ? LiveMap<Service<R[K]>> : Service<R[K]>;
};

/** Services of a `many` by the wire ids of their providers, as they come and go. Nobody but the kernel changes it. */
export interface LiveMap<T> extends ReadonlyMap<string, T> {
  /** Tells of every later change. Resolves to what ends the watch. */
  watch(watcher: Watcher<T>): () => void;
}

/** Must not throw. */
export interface Watcher<T> {
  added(id: string, service: T): void;
  /** The service is out of the map already. Its plugin is stopped once this resolves, or its stop deadline passes. */
  removed(id: string, service: T): Promise<void> | void;
}

/** What `start` must return for `provides`. */
export type Offered<P extends Tokens> = { readonly [K in keyof P]: Service<P[K]> };

/** How a plugin is named on the wire: containerd's plugin type URI and id. */
export interface WireName {
  /** For example `io.containerd.snapshotter.v1`. */
  readonly type: string;
  /** For example `overlayfs`; the key under which many-valued services are found. */
  readonly id: string;
}

/** Facts a plugin shows to clients through introspection (`ctr plugins ls -d`). */
export interface Advertisement {
  readonly capabilities?: readonly string[];
  readonly exports?: Readonly<Record<string, string>>;
  /** OCI platforms such as `linux/amd64`. */
  readonly platforms?: readonly string[];
}

export interface StartContext<C extends StandardSchemaV1, R extends Tokens> {
  /** The plugin's own section of the configuration, already validated. */
  readonly config: StandardSchemaV1.InferOutput<C>;
  readonly deps: Resolved<R>;
  readonly log: Logger;
  /** Aborted when the start deadline passes or the daemon is told to stop while starting. */
  readonly signal: AbortSignal;
  /** The plugin's own directory that survives a reboot, made with mode 0700 on first call. */
  rootDir(): string;
  /** The plugin's own directory that lasts until reboot, made with mode 0700 on first call. */
  stateDir(): string;
  /** Adds to what introspection shows of this plugin. */
  advertise(facts: Advertisement): void;
  /** Registers a release; releases run in reverse order of registration, also after a failed start. */
  onStop(release: () => Promise<void> | void): void;
  /** This plugin cannot run on this host, which is not an error. */
  skip(reason: string): never;
}

export interface Plugin<
  // biome-ignore lint/suspicious/noExplicitAny: the widest plugin
  C extends StandardSchemaV1 = any,
  // biome-ignore lint/suspicious/noExplicitAny: the widest plugin
  R extends Tokens = any,
  // biome-ignore lint/suspicious/noExplicitAny: the widest plugin
  P extends Tokens = any,
> {
  /** Key in the configuration; equal to the folder's name for plugins in the tree. */
  readonly id: string;
  /** Version of the plugin API that this plugin was written against. */
  readonly api: 1;
  readonly wire: WireName;
  /** Any Standard Schema (https://standardschema.dev) object; unknown keys must be refused by it. */
  readonly config: C;
  readonly requires: R;
  readonly provides: P;
  start(context: StartContext<C, R>): Promise<Offered<P>>;
}

/**
 * Defines a plugin: one frozen value, exported by name as `plugin`. Importing
 * it does nothing; the kernel calls `start` once everything it requires runs.
 */
export const definePlugin = <C extends StandardSchemaV1, const R extends Tokens, const P extends Tokens>(
  plugin: Plugin<C, R, P>,
): Plugin<C, R, P> => Object.freeze(plugin);

/** `skip`: cannot run on this host. `disabled`: by configuration, or for want of a plugin that is. */
export type Outcome = 'ok' | 'skip' | 'error' | 'disabled';

/** What became of one configured plugin. */
export interface PluginStatus {
  /** Key in the configuration. */
  readonly id: string;
  /** Undefined for a plugin that could not be imported or was never asked to be. */
  readonly wire: WireName | undefined;
  /** Undefined while the plugin still waits for its start. */
  readonly outcome: Outcome | undefined;
  /** One sentence; present for every outcome but `ok`. */
  readonly reason?: string;
  /** Time its start took, in milliseconds; 0 for a plugin that was not started. */
  readonly startMillis: number;
  readonly capabilities: readonly string[];
  readonly exports: Readonly<Record<string, string>>;
  /** OCI platforms such as `linux/amd64`. */
  readonly platforms: readonly string[];
  /** Wire types of the plugins it depends on. */
  readonly requires: readonly string[];
  /** Where it came from: `built-in`, `package keelson-snapshot-zfs` or `path /opt/x/index.js`. */
  readonly source: string;
}

/** What a reload came to; a plugin that was restarted is in both lists. */
export interface Change {
  readonly stopped: readonly string[];
  readonly started: readonly string[];
  /** What did not keep the change from being made: plugins that failed, or did not stop in time. */
  readonly problems: readonly string[];
}

/** The kernel's own service: what every configured plugin came to, live, in start order. */
export interface PluginReport {
  plugins(): readonly PluginStatus[];
}

export const PluginReport = one<PluginReport>('plugin-report@1');
