/**
 * Docker's credential helpers: programs `docker-credential-NAME` that are asked
 * `get` with a registry on standard input and answer in JSON
 * (https://github.com/docker/docker-credential-helpers).
 */
import { z } from 'zod';
import { deadlineExceeded, failedPrecondition, notFound } from '../../kernel/errors.js';
import { findProgram } from '../search-path.js';
import type { Login } from './config.js';

const answerSchema = () => z.object({ Username: z.string().max(4096).default(''), Secret: z.string().max(65_536) });

/** A user name that says that the secret is a refresh token. */
const TOKEN_USER = '<token>';
/** What helpers say when they have nothing. */
const NOTHING = /credentials not found/i;

export interface HelperOptions {
  /** Environment of the helper; its PATH is where helpers are looked for. */
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds until it is killed. */
  readonly deadline: number;
}

/**
 * What a helper knows of a registry; undefined when it knows nothing.
 * FAILED_PRECONDITION when it fails or answers nonsense; nothing it prints is
 * ever shown, since secrets may be in it.
 */
export async function askHelper(
  name: string,
  registry: string,
  { env, deadline }: HelperOptions,
): Promise<Login | undefined> {
  if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
    throw failedPrecondition(`credential helper "${name.slice(0, 64)}" has no name that a program could have`);
  }
  const program = `docker-credential-${name}`;
  const path = await findProgram(program, env.PATH ?? '');
  if (path === undefined) throw notFound(`credential helper "${program}" is in no directory of PATH`);
  const input = Buffer.from(`${registry}\n`);
  // Loads the C library by which programs are run: most registries need no helper.
  const { run } = await import('../linux/run.js');
  const result = await run({ path, args: ['get'], env, cwd: '/', input, deadline });
  if (result.late) throw deadlineExceeded(`credential helper "${program}" did not answer within ${deadline} ms`);
  if (result.exitStatus !== 0) {
    if (NOTHING.test(`${result.stdout}${result.stderr}`)) return undefined;
    throw failedPrecondition(`credential helper "${program}" ended with status ${result.exitStatus}`);
  }
  const login = parseAnswer(result.stdout);
  if (login) return login;
  throw failedPrecondition(`credential helper "${program}" gave an answer that cannot be read`);
}

function parseAnswer(stdout: Buffer): Login | undefined {
  let value: unknown;
  try {
    value = JSON.parse(stdout.toString());
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    return undefined;
  }
  const answer = answerSchema().safeParse(value);
  if (!answer.success) return undefined;
  const { Username, Secret } = answer.data;
  return { username: Username === TOKEN_USER ? '' : Username, secret: Secret };
}
