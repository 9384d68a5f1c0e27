/**
 * `hosts.toml` files: which mirrors to ask and how to reach them
 * (https://github.com/containerd/containerd/blob/main/docs/hosts.md). Read
 * again on each pull, so that a change needs no restart. Without the file, a
 * directory of certificates in Docker's layout counts.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import { invalidArgument } from '../../../kernel/errors.js';
import { parseDuration } from '../../../lib/duration.js';
import type { Identity, TlsSettings } from './connections.js';
import { CAPABILITIES, type Capability, defaultHost, type RegistryHost } from './host.js';

const strings = z.union([z.string().transform((text) => [text]), z.array(z.string())]);
const keyPairs = z.union([
  z.string().transform((file): string[][] => [[file]]),
  z.array(z.union([z.string().transform((file) => [file]), z.array(z.string()).length(2)])),
]);

const hostSchema = z.object({
  capabilities: z
    .array(
      z
        .string()
        .toLowerCase()
        .pipe(z.enum(['pull', 'resolve', 'push', 'referrers'])),
    )
    .optional(),
  ca: strings.optional(),
  client: keyPairs.optional(),
  skip_verify: z.boolean().optional(),
  header: z.record(z.string(), strings).optional(),
  override_path: z.boolean().optional(),
  dial_timeout: z.string().optional(),
});

const fileSchema = hostSchema.extend({
  server: z.string().optional(),
  host: z.record(z.string(), hostSchema).optional(),
});

type HostTable = z.output<typeof hostSchema>;

/** The directory names for a host, most specific first; a name from a reference holds no slash and no `..`. */
function directoryNames(host: string): readonly string[] {
  const colon = host.endsWith(']') ? -1 : host.lastIndexOf(':');
  if (colon < 0) return [host, '_default'];
  const name = host.slice(0, colon);
  return [`${name}_${host.slice(colon + 1)}_`, host, name, '_default'];
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');

async function entries(directory: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (!isMissing(error)) throw error;
    return undefined;
  }
}

/**
 * The hosts to ask for images of a registry, in order. Takes the first
 * directory, of all roots in turn, that exists for it; without any, the
 * registry's own host. INVALID_ARGUMENT, naming the file, for a broken one.
 */
export async function loadHosts(
  roots: readonly string[],
  registry: string,
  scheme?: 'http' | 'https',
): Promise<readonly RegistryHost[]> {
  for (const root of roots) {
    for (const name of directoryNames(registry)) {
      const directory = join(root, name);
      const files = await entries(directory);
      if (!files) continue;
      if (files.includes('hosts.toml')) return readHostsFile(directory, registry, scheme);
      return [await withCertificates(directory, files, defaultHost(registry, scheme))];
    }
  }
  return [defaultHost(registry, scheme)];
}

async function readHostsFile(
  directory: string,
  registry: string,
  scheme?: 'http' | 'https',
): Promise<readonly RegistryHost[]> {
  const file = join(directory, 'hosts.toml');
  const { server, host, ...own } = parseHostsFile(file, await readFile(file, 'utf8'));
  const mirrors = Object.entries(host ?? {}).map(([url, table]) =>
    readHost(file, directory, hostUrl(file, url), table),
  );
  const fallback = server === undefined ? defaultHost(registry, scheme).base : hostUrl(file, server);
  return Promise.all([...mirrors, readHost(file, directory, fallback, own)]);
}

/** The tables of a file. INVALID_ARGUMENT, naming the file and the place, when it is malformed. */
export function parseHostsFile(file: string, text: string): z.output<typeof fileSchema> {
  try {
    const result = fileSchema.safeParse(parse(text));
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    throw invalidArgument(`"${file}": ${issue?.path.join('.')}: ${issue?.message}`);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw invalidArgument(`"${file}:${error.line}:${error.column}" is not TOML: ${error.message.split('\n')[0]}`);
  }
}

function hostUrl(file: string, text: string): URL {
  const full = /^https?:\/\//.test(text) ? text : `https://${text}`;
  if (!URL.canParse(full)) throw invalidArgument(`"${file}": "${text}" is not the URL of a registry`);
  const url = new URL(full);
  if (url.username !== '' || url.password !== '') {
    throw invalidArgument(`"${file}": the URL of registry "${url.host}" holds credentials, which do not belong there`);
  }
  url.search = '';
  url.hash = '';
  return url;
}

async function readHost(file: string, directory: string, url: URL, table: HostTable): Promise<RegistryHost> {
  const base = new URL(url);
  base.pathname = apiPath(url.pathname, table.override_path ?? false);
  const dialTimeout = table.dial_timeout === undefined ? undefined : dialTimeoutOf(file, table.dial_timeout);
  const capabilities: readonly Capability[] = table.capabilities?.length ? table.capabilities : CAPABILITIES;
  return {
    base,
    capabilities,
    headers: table.header ?? {},
    tls: await readTls(directory, table),
    ...(dialTimeout === undefined ? {} : { dialTimeout }),
  };
}

function dialTimeoutOf(file: string, text: string): number {
  const timeout = parseDuration(text);
  if (timeout === undefined || timeout <= 0) {
    throw invalidArgument(`"${file}": dial_timeout "${text}" is not a duration such as "5s"`);
  }
  return timeout;
}

/** The API lives below `/v2` unless the file says that the path is complete. */
function apiPath(path: string, override: boolean): string {
  const clean = path.replace(/\/+$/, '');
  return override || clean.endsWith('/v2') ? clean : `${clean}/v2`;
}

async function readTls(directory: string, { ca, client, skip_verify: skipVerify }: HostTable): Promise<TlsSettings> {
  const read = (file: string) => readFile(resolve(directory, file), 'utf8');
  return {
    ...(ca === undefined ? {} : { ca: await Promise.all(ca.map(read)) }),
    ...(client === undefined ? {} : { identities: await Promise.all(client.map((pair) => readIdentity(read, pair))) }),
    ...(skipVerify === undefined ? {} : { skipVerify }),
  };
}

/** A file without another one for the key holds both. */
async function readIdentity(
  read: (file: string) => Promise<string>,
  [cert = '', key = '']: string[],
): Promise<Identity> {
  return { cert: await read(cert), key: await read(key === '' ? cert : key) };
}

/** Docker's layout: `*.crt` are authorities, each `NAME.cert` with its `NAME.key` one of the client's own. */
async function withCertificates(
  directory: string,
  files: readonly string[],
  host: RegistryHost,
): Promise<RegistryHost> {
  const ca = files.filter((file) => file.endsWith('.crt'));
  const certificates = files.filter((file) => file.endsWith('.cert')).sort();
  const client = certificates.map((cert) => {
    const key = cert.replace(/\.cert$/, '.key');
    return files.includes(key) ? [cert, key] : [cert];
  });
  const table = { ...(ca.length > 0 ? { ca } : {}), ...(client.length > 0 ? { client } : {}) };
  return { ...host, tls: await readTls(directory, table) };
}
