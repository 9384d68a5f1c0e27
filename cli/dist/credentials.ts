/** Credentials from the command line. */
import type { RegistryCredentials } from '../../client/index.js';
import { invalidArgument } from '../../kernel/errors.js';

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

/** What to answer a registry that asks; undefined when nothing was given. */
export async function readCredentials(
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
