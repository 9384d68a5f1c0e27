/**
 * Docker's `config.json`, as far as it tells who somebody is to a registry
 * (https://docs.docker.com/reference/cli/docker/login/#credential-stores).
 */
import { z } from 'zod';
import { invalidArgument } from '../../kernel/errors.js';

/** Bytes of the file. */
export const MAX_CONFIG = 1024 * 1024;

/** A name and a secret, or a refresh token ("identity token") without a name. */
export interface Login {
  /** Empty when `secret` is a refresh token. */
  readonly username: string;
  readonly secret: string;
}

export interface DockerConfig {
  /** The helper of a registry, by its host. */
  readonly helpers: ReadonlyMap<string, string>;
  /** The helper of all others; undefined when there is none. */
  readonly store: string | undefined;
  /** What the file itself holds, by normalized host. */
  readonly logins: ReadonlyMap<string, Login>;
}

/** Made when a file is read, which a start does without. */
const entrySchema = () =>
  z.object({
    auth: z.string().nullish(),
    username: z.string().nullish(),
    password: z.string().nullish(),
    identitytoken: z.string().nullish(),
  });

const fileSchema = () =>
  z.object({
    auths: z.record(z.string(), entrySchema().nullable()).nullish(),
    credsStore: z.string().nullish(),
    credHelpers: z.record(z.string(), z.string()).nullish(),
  });

const HUB = 'index.docker.io';
const HUB_NAMES = ['docker.io', 'registry-1.docker.io', HUB];

/** The key under which a host is known: no scheme, no path, one name for Docker Hub. */
export function registryKey(text: string): string {
  const host =
    text
      .replace(/^https?:\/\//i, '')
      .split('/', 1)[0]
      ?.toLowerCase() ?? '';
  return HUB_NAMES.includes(host) ? HUB : host;
}

/** What helpers are asked for: Docker Hub goes by the address of its first version. */
export const helperAddress = (host: string): string =>
  registryKey(host) === HUB ? 'https://index.docker.io/v1/' : registryKey(host);

function decode(auth: string): Login | undefined {
  const text = Buffer.from(auth, 'base64').toString();
  const colon = text.indexOf(':');
  // Some clients pad what they encode with zeros.
  return colon <= 0 ? undefined : { username: text.slice(0, colon), secret: text.slice(colon + 1).replace(/\0+$/, '') };
}

function loginOf({
  auth,
  username,
  password,
  identitytoken,
}: z.output<ReturnType<typeof entrySchema>>): Login | undefined {
  if (identitytoken) return { username: '', secret: identitytoken };
  if (auth) return decode(auth);
  return username && password ? { username, secret: password } : undefined;
}

/** INVALID_ARGUMENT, naming the file and never its contents, when it is malformed. */
export function parseDockerConfig(file: string, text: string): DockerConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    // The parser's own message quotes the text.
    throw invalidArgument(`"${file}" is not JSON`);
  }
  const parsed = fileSchema().safeParse(value);
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.filter((key) => typeof key === 'string' && key.length < 100).join('.');
    throw invalidArgument(`"${file}": ${path || 'the whole'} is malformed`);
  }
  const { auths, credsStore, credHelpers } = parsed.data;
  const logins = new Map<string, Login>();
  for (const [key, entry] of Object.entries(auths ?? {})) {
    const login = entry && loginOf(entry);
    if (login) logins.set(registryKey(key), login);
  }
  return {
    helpers: new Map(Object.entries(credHelpers ?? {}).map(([host, name]) => [registryKey(host), name])),
    store: credsStore || undefined,
    logins,
  };
}
