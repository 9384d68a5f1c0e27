/** What an OCI runtime says of itself, and what is known of its version. */
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { unavailable } from '../../kernel/errors.js';
import { run } from '../../lib/linux/run.js';

/** Milliseconds. */
const DEADLINE = 5000;

/** The type URL under which containerd sends the OCI features document. */
const FEATURES_URL = 'types.containerd.io/opencontainers/runtime-spec/1/features/Features';

export interface ProgramVersion {
  /** `runc`, `crun`, ... */
  readonly name: string;
  /** `1.1.5+ds1`; empty when it does not tell. */
  readonly version: string;
  /** Commit it was built from; empty when it does not tell. */
  readonly revision: string;
}

/** What the program prints. UNAVAILABLE when it fails or takes too long. */
async function ask(path: string, ...args: readonly string[]): Promise<string> {
  const env = { PATH: process.env.PATH ?? '' };
  const { exitStatus, late, stdout, stderr } = await run({ path, args, env, cwd: '/', deadline: DEADLINE });
  if (late) throw unavailable(`"${path} ${args.join(' ')}" did not end within ${DEADLINE} ms`);
  if (exitStatus !== 0) throw unavailable(`"${path} ${args.join(' ')}" ended with ${exitStatus}: ${stderr}`);
  return stdout.toString();
}

/** Runs `PROGRAM --version`. UNAVAILABLE when that fails. */
export async function readVersion(path: string): Promise<ProgramVersion> {
  try {
    const stdout = await ask(path, '--version');
    const [, name = '', version = ''] = /^(\S+) version (\S+)/m.exec(stdout) ?? [];
    const [, revision = ''] = /^commit: (\S+)/m.exec(stdout) ?? [];
    return { name, version, revision };
  } catch (cause) {
    throw unavailable(`asking "${path}" for its version`, { cause });
  }
}

/** The document `PROGRAM features` prints; undefined when it has no such command. */
export async function readFeatures(path: string): Promise<AnyMessage | undefined> {
  try {
    const stdout = await ask(path, 'features');
    JSON.parse(stdout);
    return { typeUrl: FEATURES_URL, value: Buffer.from(stdout) };
  } catch {
    // An older runtime, or another: it simply does not tell.
    return undefined;
  }
}
