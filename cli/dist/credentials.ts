/** Credentials from the command line, or from Docker's configuration. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { RegistryCredentials } from '../../client/index.js';
import { invalidArgument } from '../../kernel/errors.js';
import { findLogin } from '../../lib/docker-config/login.js';

export interface UserOptions {
  /** `NAME:PASSWORD`, or a name alone with `passwordStdin`. */
  readonly user?: string;
  readonly passwordStdin?: boolean;
}

/** Bytes of a password on standard input. */
const MAX_SECRET = 64 * 1024;

async function firstLine(input: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of input) {
    text += String(chunk);
    if (text.includes('\n')) break;
    if (text.length > MAX_SECRET) throw invalidArgument('what stands on standard input is too long for a password');
  }
  return text.split('\n', 1)[0]?.replace(/\r$/, '') ?? '';
}

/** What to answer a registry that asks, when the command line says. */
async function fromOptions(
  { user, passwordStdin }: UserOptions,
  input: NodeJS.ReadableStream,
): Promise<RegistryCredentials | undefined> {
  if (user === undefined) {
    if (passwordStdin) throw invalidArgument('--password-stdin needs a name: --user NAME');
    return undefined;
  }
  const colon = user.indexOf(':');
  if (passwordStdin) {
    if (colon >= 0) throw invalidArgument('a password is given twice: by --user and by --password-stdin');
    return { username: user, secret: await firstLine(input) };
  }
  if (colon < 0) {
    throw invalidArgument('--user has no password; write NAME:PASSWORD, or give it by --password-stdin');
  }
  return { username: user.slice(0, colon), secret: user.slice(colon + 1) };
}

/** Milliseconds until a credential helper is given up on; it may ask its user something. */
const HELPER_DEADLINE = 60_000;

/** `config.json` of the user, as Docker finds it. */
const configFile = (env: NodeJS.ProcessEnv): string =>
  join(env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker'), 'config.json');

const defined = (env: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])));

/**
 * How to answer registries that ask: by the command line, else by Docker's
 * `config.json` of the user and the credential helpers it names.
 */
export async function credentialsFor(
  options: UserOptions,
  input: NodeJS.ReadableStream,
  env: NodeJS.ProcessEnv = process.env,
): Promise<(host: string) => Promise<RegistryCredentials | undefined>> {
  const given = await fromOptions(options, input);
  if (given) return async () => given;
  return (host) => findLogin(configFile(env), host, { env: defined(env), deadline: HELPER_DEADLINE });
}
