/** The introspection service: plugins, as the kernel reports them, and the daemon itself. */
import { stat } from 'node:fs/promises';
import {
  IntrospectionDefinition,
  type Plugin,
  type PluginInfoRequest,
  type ServerResponse,
} from '../../api/gen/services/introspection.js';
import { RuntimeInfo, RuntimeRequest } from '../../api/gen/types/introspection.js';
import type { Platform } from '../../api/gen/types/platform.js';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import type { Runtime } from '../../kernel/contracts/runtime.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { failedPrecondition, notFound, unimplemented } from '../../kernel/errors.js';
import type { Outcome, PluginReport, PluginStatus } from '../../kernel/plugin.js';
import { compileFilters, nonEmpty } from '../../lib/filters/filters.js';
import { parsePlatform } from '../../lib/oci/platform.js';
import { packAny, unpackAny } from '../../lib/rpc/any.js';
import { implement } from '../../lib/rpc/definition.js';
import { statusNumber } from '../../lib/rpc/status.js';
import { VERSION } from '../../lib/version.js';

const RUNTIME_TYPE = 'io.containerd.runtime.v2';

/** By these words in its message clients tell a plugin that cannot run here from one that is broken. */
const SKIP = 'skip plugin';

interface Named extends PluginStatus {
  readonly wire: NonNullable<PluginStatus['wire']>;
  readonly outcome: Outcome;
}

/** The type of a plugin that could not be imported, so that nobody knows its own; its id is its configuration key. */
const UNKNOWN_TYPE = 'io.keelson.unknown.v1';

/** containerd knows nothing of plugins that are disabled, and neither do its clients. */
function asShown({ outcome, wire, ...status }: PluginStatus): Named[] {
  if (outcome === undefined || outcome === 'disabled') return [];
  return [{ ...status, outcome, wire: wire ?? { type: UNKNOWN_TYPE, id: status.id } }];
}

const toPlatform = (text: string): Platform => {
  const { os, architecture, variant = '' } = parsePlatform(text);
  return { os, architecture, variant, osVersion: '', osFeatures: [] };
};

function initError({ outcome, reason = '' }: Named): Plugin['initErr'] {
  if (outcome === 'ok') return undefined;
  if (outcome === 'skip') {
    return { code: statusNumber('UNIMPLEMENTED'), message: `${reason}: ${SKIP}`, details: [] };
  }
  return { code: statusNumber('INTERNAL'), message: reason, details: [] };
}

/** Facts for which the message has no field. */
const ownFacts = ({ id, source, startMillis }: Named): Record<string, string> => ({
  'io.keelson.plugin': id,
  'io.keelson.source': source,
  'io.keelson.start-millis': startMillis.toFixed(1),
});

/** Of a plugin of the tree; the version of others is told by the program that configured them. */
const ownVersion = ({ source }: Named): Record<string, string> =>
  source === 'built-in' ? { 'io.keelson.version': VERSION } : {};

const toPlugin = (status: Named): Plugin => ({
  type: status.wire.type,
  id: status.wire.id,
  requires: [...status.requires],
  platforms: status.platforms.map(toPlatform),
  exports: { ...ownVersion(status), ...status.exports, ...ownFacts(status) },
  capabilities: [...status.capabilities],
  initErr: initError(status),
});

const pluginsOf = (report: PluginReport): Plugin[] => report.plugins().flatMap(asShown).map(toPlugin);

function listPlugins(report: PluginReport, filters: readonly string[]): Plugin[] {
  const matches = compileFilters(filters);
  return pluginsOf(report).filter(({ type, id }) =>
    matches(([field, ...rest]) => {
      if (rest.length > 0) return undefined;
      if (field === 'type') return nonEmpty(type);
      return field === 'id' ? nonEmpty(id) : undefined;
    }),
  );
}

async function serverInfo(uuid: string): Promise<ServerResponse> {
  const namespace = await stat('/proc/self/ns/pid', { bigint: true });
  return { uuid, pid: BigInt(process.pid), pidns: namespace.ino, deprecations: [] };
}

/** What a runtime says of itself; no other plugin has more to say than its entry. */
async function moreOf(runtime: Runtime | undefined, plugin: Plugin, options: AnyMessage): Promise<AnyMessage> {
  const name = `"${plugin.type}.${plugin.id}"`;
  if (plugin.initErr !== undefined) throw failedPrecondition(`plugin ${name} does not run: ${plugin.initErr.message}`);
  if (runtime === undefined) throw unimplemented(`plugin ${name} has no more to say of itself`);
  const request = unpackAny(RuntimeRequest, options);
  const facts = await runtime.facts(request.runtimePath, request.options);
  return packAny(
    RuntimeInfo,
    RuntimeInfo.create({
      name: facts.name,
      version: { version: facts.version, revision: facts.revision },
      options: request.options,
      features: facts.features,
      annotations: facts.annotations,
    }),
  );
}

async function pluginInfo(
  report: PluginReport,
  runtimes: ReadonlyMap<string, Runtime>,
  { type, id, options }: PluginInfoRequest,
) {
  const plugin = pluginsOf(report).find((candidate) => candidate.type === type && candidate.id === id);
  if (plugin === undefined)
    throw notFound(`plugin "${type}.${id}" is not known`, { remedy: 'list them: ctr plugins ls' });
  if (options === undefined) return { plugin, extra: undefined };
  const runtime = type === RUNTIME_TYPE ? runtimes.get(id) : undefined;
  const { typeUrl, value } = await moreOf(runtime, plugin, options);
  return { plugin, extra: { typeUrl, value } };
}

export const introspectionService = (
  report: PluginReport,
  runtimes: ReadonlyMap<string, Runtime>,
  uuid: string,
): GrpcService =>
  implement(IntrospectionDefinition, {
    plugins: async ({ filters }) => ({ plugins: listPlugins(report, filters) }),
    server: () => serverInfo(uuid),
    pluginInfo: (request) => pluginInfo(report, runtimes, request),
  });
