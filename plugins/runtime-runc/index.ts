import { z } from 'zod';
import { Events } from '../../kernel/contracts/events.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { definePlugin } from '../../kernel/plugin.js';
import { formatPlatform, hostPlatform } from '../../lib/oci/platform.js';
import { runtimeRoot } from '../../lib/supervisor/layout.js';
import { RuncRuntime } from './runtime.js';

const seconds = (what: string, value: number) => z.number().positive().default(value).describe(`Seconds ${what}`);

/** containerd's names for runc, and our own. */
const NAMES = ['io.containerd.runc.v2', 'io.containerd.runc.v1', 'io.containerd.keelson.v1'];

const config = z
  .object({
    names: z.array(z.string().min(1)).default(NAMES).describe('Runtime names served'),
    grouping: z
      .enum(['namespace', 'pod', 'container'])
      .default('namespace')
      .describe('Which tasks share a supervisor process: those of a namespace, of a pod, or none'),
    binary: z.string().min(1).default('runc').describe('OCI runtime: a name to look up in PATH, or an absolute path'),
    runtime_root: z.string().default('').describe('Where the OCI runtime keeps its state; empty: below our own state'),
    systemd_cgroup: z.boolean().default(false).describe('Let systemd make the control groups'),
    known_escapes: z
      .enum(['warn', 'refuse', 'ignore'])
      .default('warn')
      .describe('What becomes of containers whose OCI runtime has a version with known escapes'),
    deadline: seconds('one run of the OCI runtime may take', 120),
    idle: seconds('a supervisor without tasks is kept for the next one', 60),
    adoption_budget: seconds('the start of the daemon waits for supervisors it finds', 5),
    event_grace: z
      .number()
      .min(0)
      .default(2)
      .describe('Seconds events wait after a start that found tasks, so that clients can subscribe again first'),
  })
  .strict();

const MILLIS = 1000;

/** Containers by runc or another OCI runtime, under supervisors that outlive the daemon. */
export const plugin = definePlugin({
  id: 'runtime-runc',
  api: 1,
  wire: { type: 'io.containerd.runtime.v2', id: 'task' },
  config,
  requires: { events: Events },
  provides: { runtime: Runtimes },
  async start({ config: settings, deps: { events }, log, stateDir, advertise, onStop }) {
    const state = stateDir();
    advertise({ platforms: [formatPlatform(hostPlatform())] });
    const options = {
      names: settings.names,
      grouping: settings.grouping,
      binary: settings.binary,
      runtimeRoot: settings.runtime_root || runtimeRoot(state),
      systemdCgroup: settings.systemd_cgroup,
      knownEscapes: settings.known_escapes,
      deadline: settings.deadline * MILLIS,
      idle: settings.idle * MILLIS,
      eventGrace: settings.event_grace * MILLIS,
      state,
      events,
      log,
    };
    const runtime = await RuncRuntime.open(options, settings.adoption_budget * MILLIS);
    onStop(() => runtime.close());
    return { runtime };
  },
});
