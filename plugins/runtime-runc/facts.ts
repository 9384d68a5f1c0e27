/** What an OCI runtime says of itself, and what is known of its version. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { unavailable } from '../../kernel/errors.js';

const run = promisify(execFile);

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

/** Runs `PROGRAM --version`. UNAVAILABLE when that fails. */
export async function readVersion(path: string): Promise<ProgramVersion> {
  try {
    const { stdout } = await run(path, ['--version'], { timeout: DEADLINE });
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
    const { stdout } = await run(path, ['features'], { timeout: DEADLINE });
    JSON.parse(stdout);
    return { typeUrl: FEATURES_URL, value: Buffer.from(stdout) };
  } catch {
    // An older runtime, or another: it simply does not tell.
    return undefined;
  }
}
