/** What `[proxy_plugins.<name>]` says: containerd's keys, and some of ours. */
import { z } from 'zod';

/** containerd's short words for the types it proxies, and their URIs. */
const TYPES = {
  snapshot: 'io.containerd.snapshotter.v1',
  content: 'io.containerd.content.v1',
  diff: 'io.containerd.differ.v1',
  sandbox: 'io.containerd.sandbox.controller.v1',
} as const;

export type ProxyType = (typeof TYPES)[keyof typeof TYPES];

const SHORT = z.enum(['snapshot', 'content', 'diff', 'sandbox']);
const LONG = z.enum([TYPES.snapshot, TYPES.content, TYPES.diff, TYPES.sandbox]);

/** Made for the first proxy: most daemons have none. */
export const proxyTable = () =>
  z
    .object({
      type: z
        .union([SHORT, LONG])
        .describe('what the process is: snapshot, content, diff or sandbox, or the plugin type in full'),
      address: z
        .string()
        .regex(/^(unix:(\/\/)?)?\//, 'an absolute path is expected')
        .describe('unix socket of the process'),
      platform: z.string().default('').describe('shown to clients, for example linux/amd64'),
      exports: z.record(z.string(), z.string()).default({}).describe('facts shown to clients, for example root'),
      capabilities: z.array(z.string()).default([]).describe('what it can beyond the basics, for example rebase'),
      namespace: z.string().default('default').describe('in which calls are made that are on behalf of no namespace'),
      timeout: z.number().positive().default(60).describe('seconds that a call may take'),
      connect_timeout: z.number().positive().default(3).describe('seconds that a call waits for the socket to answer'),
      command: z
        .array(z.string().min(1))
        .default([])
        .describe('program and arguments; when given, the daemon starts the process and restarts it when it ends'),
      env: z.record(z.string(), z.string()).default({}).describe('environment of that program, beside PATH'),
      max_restart_delay: z
        .number()
        .positive()
        .default(30)
        .describe(
          'most seconds between two starts of that program; the first restart comes after 0.1, each doubles it',
        ),
      stop_timeout: z
        .number()
        .positive()
        .default(5)
        .describe('seconds that the program gets to end after SIGTERM, before SIGKILL'),
    })
    .strict();

export const proxySettings = z.lazy(proxyTable);

export type ProxySettings = z.output<typeof proxySettings>;

/** The plugin type in full. */
export function typeOf({ type }: ProxySettings): ProxyType {
  const short = SHORT.safeParse(type);
  return short.success ? TYPES[short.data] : LONG.parse(type);
}
