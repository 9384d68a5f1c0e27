/** Where the supervisor of a stock containerd's namespace lives. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runtimeRoot, SOCKET, supervisorDirectory } from '../../../lib/supervisor/layout.js';
import type { SupervisorSettings } from '../../../lib/supervisor/settings.js';

/** Holds a directory per containerd; `KEELSON_SHIM_STATE` puts it elsewhere. */
const STATE = process.env.KEELSON_SHIM_STATE ?? '/run/keelson-shim';

/** Milliseconds one run of the OCI runtime may take. */
const DEADLINE = 120_000;

export interface ShimPlace {
  readonly namespace: string;
  readonly directory: string;
  readonly socket: string;
  readonly settings: SupervisorSettings;
}

/** One supervisor serves all tasks of a namespace of the containerd at that address. */
export function placeOf(address: string, namespace: string, bundle: string, publish: string | undefined): ShimPlace {
  const state = join(STATE, createHash('sha256').update(address).digest('hex').slice(0, 12));
  const directory = supervisorDirectory(state, namespace);
  const settings = {
    namespace,
    group: namespace,
    bundles: dirname(bundle),
    binary: 'runc',
    runtimeRoot: runtimeRoot(state),
    systemdCgroup: false,
    deadline: DEADLINE,
    ...(publish !== undefined && publish !== '' && { publish }),
  };
  return { namespace, directory, socket: join(directory, SOCKET), settings };
}

/** Makes the place; nobody but root gets in. */
export function makePlace({ directory }: ShimPlace): void {
  mkdirSync(STATE, { recursive: true, mode: 0o700 });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}
