/** What a daemon is made of: as a running one tells, or as a configuration plans it. */
import type { Client, Plugin } from '../../client/index.js';
import { loadConfig } from '../../config/load.js';
import { pluginVersion } from '../../config/plugin-version.js';
import { createKernel, KernelError, type PluginStatus } from '../../kernel/index.js';

export interface Row {
  /** Plugin type on the wire; empty when the plugin could not be imported. */
  readonly type: string;
  readonly id: string;
  /** Key in the configuration. */
  readonly name: string;
  readonly status: string;
  /** Milliseconds, as text; empty when it was not started. */
  readonly millis: string;
  /** Of the package that holds it; empty when that is not known. */
  readonly version: string;
  readonly source: string;
  readonly reason: string;
}

/** One plugin's need of another, by their names. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  /** Services, or plugin types where only those are known. */
  readonly label: string;
}

export interface Overview {
  readonly rows: readonly Row[];
  readonly edges: readonly Edge[];
}

/** The words by which a plugin that cannot run here is told from one that is broken. */
const SKIP = /(?:: )?skip plugin$/;

/** What there is to say of a plugin that runs: its process, and what it has to answer for. */
function remarkOn(exports: Readonly<Record<string, string>>): string {
  const faults = exports['io.keelson.faults'];
  const blame = faults === undefined ? [] : [`${faults} faults, the last: ${exports['io.keelson.last-fault']}`];
  return [exports['io.keelson.process'] ?? [], blame].flat().join('; ');
}

function liveRow({ type, id, initErr, exports }: Plugin): Row {
  const reason = initErr?.message ?? '';
  return {
    type,
    id,
    name: exports['io.keelson.plugin'] ?? `${type}.${id}`,
    status: initErr === undefined ? 'ok' : SKIP.test(reason) ? 'skip' : 'error',
    millis: exports['io.keelson.start-millis'] ?? '',
    version: exports['io.keelson.version'] ?? '',
    source: exports['io.keelson.source'] ?? '',
    reason: reason.replace(SKIP, '') || remarkOn(exports),
  };
}

/** Over the wire a plugin names the types it requires, not the plugins. */
export async function liveOverview(client: Client): Promise<Overview> {
  const { plugins } = await client.introspection.plugins({});
  const rows = plugins.map(liveRow);
  const edges = plugins.flatMap((plugin, index) =>
    plugin.requires.flatMap((type) =>
      rows
        .filter((row) => row.type === type && row !== rows[index])
        .map((row) => ({ from: rows[index]?.name ?? '', to: row.name, label: type })),
    ),
  );
  return { rows, edges };
}

const plannedRow = ({ id, wire, outcome, reason = '', source }: PluginStatus, version: string): Row => ({
  type: wire?.type ?? '',
  id: wire?.id ?? '',
  name: id,
  status: outcome ?? 'planned',
  millis: '',
  version,
  source,
  reason,
});

/** Throws {@link KernelError} when the configuration has problems that keep a daemon from starting. */
export async function plannedOverview(file: string | undefined): Promise<Overview> {
  const { kernel, builtins, problems, locate, packagesFrom } = await loadConfig(file === undefined ? {} : { file });
  const plan = await createKernel(kernel, { builtins, locate, packagesFrom }).inspect();
  const failed = new Set(plan.plugins.map(({ reason }) => reason));
  const fatal = [...problems, ...plan.problems.filter(({ message }) => !failed.has(message))];
  if (fatal.length > 0) throw new KernelError('INVALID_ARGUMENT', 'checking the configuration', fatal);
  const edges = plan.links.map(({ plugin, service, provider }) => ({ from: plugin, to: provider, label: service }));
  const versionOf = (id: string): string => pluginVersion(kernel.plugins?.[id] ?? {}, packagesFrom);
  return { rows: plan.plugins.map((plugin) => plannedRow(plugin, versionOf(plugin.id))), edges };
}
