/** The configuration as text: the default one with every setting explained, the effective one, and its JSON schema. */
import { stringify } from 'smol-toml';
import { z } from 'zod';
import { jsonSchemaOf, type KernelConfig } from '../kernel/config.js';
import { type Definition, discover } from '../kernel/discover.js';
import { builtins } from './builtins.js';
import { defaultToml } from './defaults.js';
import type { LoadedConfig } from './load.js';
import { Settings } from './schema.js';

type Json = Readonly<Record<string, unknown>>;

const isTable = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

const propertiesOf = (schema: unknown): Json =>
  isTable(schema) && isTable(schema.properties) ? schema.properties : {};

/** The plugins that an import answers for; what is wrong with the others is for `check` to tell. */
async function definitions(plugins: KernelConfig['plugins'], packagesFrom: readonly string[]): Promise<Definition[]> {
  const found = await Promise.all(
    Object.entries(plugins).map(([id, entry]) => discover(id, entry, { builtins, packagesFrom })),
  );
  return found.flatMap((result) => ('definition' in result ? [result.definition] : []));
}

/** `value` with the defaults of its JSON schema where it says nothing. */
function withDefaults(value: unknown, schema: unknown): unknown {
  if (value !== undefined && !isTable(value)) return value;
  const given = isTable(value) ? value : {};
  const filled = Object.entries(propertiesOf(schema)).map(([key, property]) => {
    const present = Object.hasOwn(given, key) ? given[key] : undefined;
    const fallback = isTable(property) ? property.default : undefined;
    return [key, withDefaults(present ?? fallback, property)] as const;
  });
  const all = [...Object.entries(given), ...filled].filter(([, inner]) => inner !== undefined);
  return all.length > 0 || value !== undefined ? Object.fromEntries(all) : undefined;
}

const withoutEmpty = (table: Json): Json =>
  Object.fromEntries(Object.entries(table).filter(([, value]) => !isTable(value) || Object.keys(value).length > 0));

/** The effective configuration as TOML, defaults included, ready to be loaded again in place of all its files. */
export async function dump({ settings, packagesFrom }: LoadedConfig): Promise<string> {
  const { imports, plugins, ...top } = settings;
  const schemas = new Map(
    (await definitions(plugins, packagesFrom)).map(({ id, plugin }) => [id, jsonSchemaOf(plugin.config)]),
  );
  const effective = Object.entries(plugins).map(([id, entry]) => {
    const config = withDefaults(entry.config, schemas.get(id));
    return [id, isTable(config) ? withoutEmpty({ ...entry, config }) : entry] as const;
  });
  return stringify({ ...top, plugins: Object.fromEntries(effective) });
}

/** One setting as comment lines: what it is, and its default as an assignment to be uncommented. */
function explain(key: string, property: unknown): string[] {
  const { description, default: fallback }: Json = isTable(property) ? property : {};
  const said = typeof description === 'string' ? [`# ${description}`] : [];
  const assigned = fallback === undefined ? `${key} =` : stringify({ [key]: fallback }).trim();
  return [...said, ...assigned.split('\n').map((line) => `# ${line}`)];
}

/** default.toml with every setting of every plugin, commented out. */
export async function annotatedDefault(): Promise<string> {
  const entries = Object.fromEntries(Object.keys(builtins).map((id) => [id, {}]));
  const schemas = new Map((await definitions(entries, [])).map(({ id, plugin }) => [id, jsonSchemaOf(plugin.config)]));
  return defaultToml()
    .split('\n\n')
    .map((table) => {
      const [, id = ''] = /^\[plugins\.([\w-]+)\]$/m.exec(table) ?? [];
      const settings = Object.entries(propertiesOf(schemas.get(id)));
      if (settings.length === 0) return table;
      const lines = settings.flatMap(([key, property]) => explain(key, property));
      return [table.trimEnd(), `# [plugins.${id}.config]`, ...lines].join('\n');
    })
    .join('\n\n')
    .replace(/\n*$/, '\n');
}

/** JSON Schema of a configuration file, with the sections of all plugins of the tree. */
export async function jsonSchema(): Promise<Json> {
  const schema: Json = z.toJSONSchema(Settings, { io: 'input' });
  const { plugins, ...top } = propertiesOf(schema);
  const entry = isTable(plugins) ? plugins.additionalProperties : undefined;
  const ids = Object.fromEntries(Object.keys(builtins).map((id) => [id, {}]));
  const known = (await definitions(ids, [])).map(({ id, plugin }) => {
    const section = { ...jsonSchemaOf(plugin.config) };
    delete section.$schema;
    return [id, { ...(isTable(entry) && entry), properties: { ...propertiesOf(entry), config: section } }] as const;
  });
  const table = { ...(isTable(plugins) && plugins), properties: Object.fromEntries(known) };
  return { ...schema, title: 'Configuration of keelsond', properties: { ...top, plugins: table } };
}
