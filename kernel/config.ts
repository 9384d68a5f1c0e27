/** The kernel's share of the configuration, and how every problem in a configuration is worded. */
import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';
import { closest, distance } from 'fastest-levenshtein';
import { type Problem, problem } from './errors.js';

export interface PluginEntry {
  /** npm package that holds the plugin. Without this and `path` it is a plugin of the tree. */
  readonly package?: string;
  /** Absolute path of a module, or of a package's directory, that holds the plugin. */
  readonly path?: string;
  /** Unless it starts, nothing does. Default false. */
  readonly required?: boolean;
  /** Default true. */
  readonly enabled?: boolean;
  /** Seconds that its import, and then its start, may take; default 10. */
  readonly start_deadline?: number;
  /** Seconds that all its releases together may take; default 10. */
  readonly stop_deadline?: number;
  /** The plugin's own section, checked by its schema. */
  readonly config?: unknown;
}

/** A deadline of the configuration, or the default, in milliseconds. */
export const millis = (seconds = 10): number => seconds * 1000;

export interface KernelConfig {
  /** Absolute path of what survives a reboot; one kernel at a time. */
  readonly root: string;
  /** Absolute path of what lasts until reboot. */
  readonly state: string;
  /** Plugin ids, or wire names such as `io.containerd.snapshotter.v1.btrfs`. */
  readonly required_plugins?: readonly string[];
  /** As `required_plugins`. */
  readonly disabled_plugins?: readonly string[];
  readonly plugins: Readonly<Record<string, PluginEntry>>;
}

export type KeyPath = readonly PropertyKey[];

/**
 * Where a key or its value was written, as `file:line:column`; undefined when
 * nobody wrote it. With `at: 'key'` the key itself is meant.
 */
export type Locate = (path: KeyPath, at: 'key' | 'value') => Promise<string | undefined>;

/** `; did you mean "dataset"?`, or nothing when no known key is near enough for a slip of the finger. */
export function didYouMean(found: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const best = closest(found, [...known]);
  const isNear = distance(found, best) <= Math.max(2, Math.floor(best.length / 3));
  return isNear ? `; did you mean "${best}"?` : '';
}

const bare = /^[A-Za-z0-9_-]+$/;

/** `plugins.snapshot-overlay.config.mounts[2]`; keys with other characters are quoted. */
export const showPath = (path: KeyPath): string =>
  path.reduce<string>((shown, key) => {
    if (typeof key === 'number') return `${shown}[${key}]`;
    const part = bare.test(String(key)) ? String(key) : JSON.stringify(String(key));
    return shown === '' ? part : `${shown}.${part}`;
  }, '');

/** A value as a person would name it: `string "x"`, `number 5`, `table`. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Date) return 'date';
  if (typeof value === 'object') return 'table';
  if (typeof value !== 'string') return `${typeof value} ${String(value)}`;
  return `string ${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value)}`;
}

const NAMES: Readonly<Record<string, string>> = {
  object: 'table',
  record: 'table',
  array: 'list',
  int: 'integer',
  bigint: 'integer',
};

export const isRecord = (value: unknown): value is Readonly<Record<PropertyKey, unknown>> =>
  typeof value === 'object' && value !== null;

const own = (value: unknown, key: PropertyKey): unknown =>
  isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;

/** The value at a path, `undefined` where there is none; inherited properties do not count. */
export const valueAt = (value: unknown, path: KeyPath): unknown => path.reduce<unknown>(own, value);

/** What the issue says was expected. Zod's issues carry it as data; any other schema only has its message. */
function expectation(issue: StandardSchemaV1.Issue): string | undefined {
  const expected = own(issue, 'expected');
  const format = own(issue, 'code') === 'invalid_type' || own(issue, 'code') === undefined;
  if (typeof expected === 'string' && format) return NAMES[expected] ?? expected;
  const values = own(issue, 'values');
  if (Array.isArray(values)) return values.map((value) => JSON.stringify(value)).join(' or ');
  const alternatives = own(issue, 'errors');
  if (!Array.isArray(alternatives)) return undefined;
  const first = alternatives.map((errors: readonly StandardSchemaV1.Issue[]) => errors[0] && expectation(errors[0]));
  return first.every((text) => text !== undefined) ? [...new Set(first)].join(' or ') : undefined;
}

const hasJsonSchema = (schema: StandardSchemaV1): schema is StandardSchemaV1 & StandardJSONSchemaV1 =>
  typeof own(schema['~standard'], 'jsonSchema') === 'object';

/** The schema as JSON Schema, when its library can say it (https://standardschema.dev/json-schema). */
export const jsonSchemaOf = (schema: StandardSchemaV1): Record<string, unknown> | undefined =>
  hasJsonSchema(schema) ? schema['~standard'].jsonSchema.input({ target: 'draft-2020-12' }) : undefined;

/** Keys that the JSON Schema knows in the table at `path`. */
function knownKeys(schema: unknown, path: KeyPath): readonly string[] {
  const table = path.reduce<unknown>(
    (at, key) => own(own(at, 'properties'), key) ?? own(at, 'additionalProperties') ?? own(at, 'items'),
    schema,
  );
  return Object.keys(own(table, 'properties') ?? {});
}

const keysOf = (issue: StandardSchemaV1.Issue): KeyPath =>
  (issue.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));

/** `file:line:column: key.path`, or the key path alone when nobody wrote it. */
export async function place(locate: Locate, path: KeyPath, at: 'key' | 'value'): Promise<string> {
  const where = await locate(path, at);
  return where === undefined ? showPath(path) : `${where}: ${showPath(path)}`;
}

export interface Section {
  readonly schema: StandardSchemaV1;
  readonly value: unknown;
  /** Key path of the section in the whole configuration. */
  readonly path: KeyPath;
}

/** One sentence for each key that the table at the path does not know. */
async function wordUnknownKeys(keys: readonly unknown[], inner: KeyPath, section: Section, locate: Locate) {
  const known = knownKeys(jsonSchemaOf(section.schema), inner);
  const expected = known.length === 0 ? 'no keys here' : `one of ${known.join(', ')}`;
  const sentence = async (key: string): Promise<string> => {
    const at = await place(locate, [...section.path, ...inner, key], 'key');
    return `${at}: found unknown key "${key}", expected ${expected}${didYouMean(key, known)}`;
  };
  return Promise.all(keys.map(String).map(sentence));
}

async function wordIssue(issue: StandardSchemaV1.Issue, section: Section, locate: Locate): Promise<string[]> {
  const inner = keysOf(issue);
  const unknown = own(issue, 'keys');
  if (own(issue, 'code') === 'unrecognized_keys' && Array.isArray(unknown))
    return wordUnknownKeys(unknown, inner, section, locate);
  const found = valueAt(section.value, inner);
  const expected = expectation(issue);
  const options = own(issue, 'values');
  const hint = typeof found === 'string' && Array.isArray(options) ? didYouMean(found, options.map(String)) : '';
  const said = expected === undefined ? `: ${issue.message}` : `, expected ${expected}${hint}`;
  return [`${await place(locate, [...section.path, ...inner], 'value')}: found ${describe(found)}${said}`];
}

/** Checks one section against its schema; every problem says where it is, what was found and what is expected. */
export async function validate(
  section: Section,
  locate: Locate,
): Promise<{ readonly value?: unknown; readonly problems: readonly Problem[] }> {
  const result = await section.schema['~standard'].validate(section.value);
  if (result.issues === undefined) return { value: result.value, problems: [] };
  const sentences = await Promise.all(result.issues.map((issue) => wordIssue(issue, section, locate)));
  return { problems: sentences.flat().map((sentence) => problem('KEELSON_CONFIG', sentence)) };
}
